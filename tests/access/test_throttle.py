"""Guessing passwords is slow."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from logplex.access.authenticator import FORGET_AFTER_S, MAX_DELAY_S, MAX_PAIRS, Throttle
from logplex.live import Live
from logplex.settings import Limits


class ThrottleTests(SynchronousTestCase):
    """:class:`Throttle`, with two free failures and a second for each more."""

    def setUp(self) -> None:
        self.clock = Clock()
        limits = Live(Limits(auth_failures=2, auth_failure_delay_s=1.0))
        self.throttle = Throttle(self.clock, limits)

    def fail_times(self, times: int, id: str = "id", address: str = "a") -> list[float]:
        return [self.throttle.judge(id, address, False) for _ in range(times)]

    def test_some_are_free(self) -> None:
        self.assertEqual([0, 0, 1], self.fail_times(3))

    def test_one_after_another(self) -> None:
        """Guesses that come together wait for each other, those that come later do not."""
        self.assertEqual([0, 0, 1, 2, 3], self.fail_times(5))
        self.clock.advance(2)
        self.assertEqual([2], self.fail_times(1))
        self.clock.advance(10)
        self.assertEqual([1], self.fail_times(1))

    def test_bound(self) -> None:
        self.assertEqual(MAX_DELAY_S, self.fail_times(100)[-1])

    def test_others(self) -> None:
        """Another id, and another address, count apart."""
        self.fail_times(5)
        self.assertEqual([0], self.fail_times(1, id="other"))
        self.assertEqual([0], self.fail_times(1, address="b"))

    def test_success(self) -> None:
        """A caller with the password does not wait, and begins anew."""
        self.fail_times(5)
        self.assertEqual(0, self.throttle.judge("id", "a", True))
        self.assertEqual([0, 0, 1], self.fail_times(3))

    def test_forgotten(self) -> None:
        self.fail_times(5)
        self.clock.advance(FORGET_AFTER_S + 1)
        self.assertEqual([0], self.fail_times(1))

    def test_bounded(self) -> None:
        """Many ids do not grow memory; the one that failed longest ago is forgotten."""
        self.fail_times(2, id="first")
        for n in range(MAX_PAIRS - 1):
            self.fail_times(2, id=str(n))
        self.assertEqual([1], self.fail_times(1, id="0"))
        self.fail_times(1, id="one more")
        self.assertEqual([0], self.fail_times(1, id="first"))
