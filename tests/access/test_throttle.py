# SPDX-License-Identifier: Apache-2.0

"""Guessing passwords is slow."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from logplex.access.authenticator import FORGET_AFTER_S, MAX_DELAY_S, MAX_KEPT, Throttle
from logplex.live import Live
from logplex.metrics import Counters
from logplex.settings import Limits


class ThrottleTests(SynchronousTestCase):
    """:class:`Throttle`, with two free failures and a second for each more."""

    def setUp(self) -> None:
        self.clock = Clock()
        limits = Live(Limits(auth_failures=2, auth_address_failures=20, auth_failure_delay_s=1.0))
        self.counters = Counters()
        self.throttle = Throttle(self.clock, limits, self.counters)

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
        for n in range(MAX_KEPT - 1):
            self.fail_times(2, id=str(n), address=str(n))
        self.assertEqual([1], self.fail_times(1, id="0", address="0"))
        self.fail_times(1, id="one more", address="z")
        self.assertEqual([0], self.fail_times(1, id="first"))

    def guess(self, guesses: int, address: str = "a") -> list[float]:
        """Fail with another id each time."""
        return [self.throttle.judge(f"{address}{n}", address, False) for n in range(guesses)]

    def test_one_password_for_every_id(self) -> None:
        """An address has a budget too, whatever ids it tries."""
        self.assertEqual([0] * 20 + [1, 2], self.guess(22))
        self.assertEqual([0], self.guess(1, "b"))
        self.clock.advance(FORGET_AFTER_S + 3)
        self.assertEqual([0], self.guess(1))

    def test_a_success_does_not_renew_the_budget_of_an_address(self) -> None:
        self.guess(20)
        self.assertEqual(0, self.throttle.judge("own", "a", True))
        self.assertEqual([1], self.guess(1))

    def test_networks(self) -> None:
        """A client has all addresses of its IPv6 network."""
        for n in range(20):
            self.guess(1, f"2001:db8::{n}")
        self.assertEqual([1], self.guess(1, "2001:db8::ffff"))
        self.assertEqual([0], self.guess(1, "2001:db8:0:1::1"))
        self.assertEqual([0], self.guess(1, "not:an:address"))

    def test_ipv4_on_an_ipv6_listener(self) -> None:
        """Clients of IPv4 are not one client, and have no second budget there."""
        self.guess(20, "::ffff:192.0.2.1")
        self.assertEqual([0], self.guess(1, "::ffff:192.0.2.2"))
        self.assertEqual([1], self.guess(1, "192.0.2.1"))

    def test_counted_and_told(self) -> None:
        """Each failure is counted; the log names the last one, once a minute at most."""
        with capturedLogs() as events:
            self.fail_times(30, id="guess\n", address="192.0.2.1")
            self.throttle.judge("guess", "192.0.2.1", True)
            self.clock.advance(60)
            self.fail_times(1, id="x" * 40)
        self.assertEqual(31, self.counters.auth_failures)
        self.assertEqual(
            [
                "authentication failed 1 times since the last such line; the last was for the id"
                " 'guess\\n' from 192.0.2.1",
                "authentication failed 30 times since the last such line; the last was for the id"
                f" '{'x' * 16}'… from a",
            ],
            [formatEvent(event) for event in events],
        )
