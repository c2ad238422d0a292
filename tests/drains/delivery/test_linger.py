# SPDX-License-Identifier: Apache-2.0

"""The times for which busy drains wait for more messages."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from logplex.drains.delivery.pace import Linger


class Lingers(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.linger = Linger(0.05, 0.2)
        self.sent_at: dict[int, float] = {}

    def send(self, drains: int) -> None:
        """So many drains send, always the same ones first."""
        now = self.clock.seconds()
        for drain in range(drains):
            self.linger.sends(now, self.sent_at.get(drain, 0.0))
            self.sent_at[drain] = now

    def test_few(self) -> None:
        """Up to 25 busy drains wait as long as one."""
        self.send(25)
        self.assertEqual(self.linger.seconds, 0.05)

    def test_more(self) -> None:
        """More of them send 500 batches a second together."""
        self.send(50)
        self.assertEqual(self.linger.seconds, 0.1)

    def test_many(self) -> None:
        """None waits longer than the most."""
        self.send(5_000)
        self.assertEqual(self.linger.seconds, 0.2)

    def test_one_that_sends_often(self) -> None:
        """A drain counts once, however much it sends."""
        for _ in range(500):
            self.clock.advance(0.01)
            self.send(1)
        self.assertEqual(self.linger.seconds, 0.05)

    def test_goes_on(self) -> None:
        """As long as they are busy they are counted, at any moment."""
        self.send(50)
        for _ in range(100):
            self.clock.advance(0.1)
            self.assertEqual(self.linger.seconds, 0.1)
            self.send(50)

    def test_fewer(self) -> None:
        """Drains that are busy no more are forgotten after a while."""
        self.send(100)
        for _ in range(11):
            self.clock.advance(0.1)
            self.send(10)
        self.assertEqual(self.linger.seconds, 0.05)

    def test_quiet_moment(self) -> None:
        """After some silence the first that sends finds the others forgotten."""
        self.send(100)
        self.clock.advance(5)
        self.send(1)
        self.assertEqual(self.linger.seconds, 0.05)

    def test_clock_set_back(self) -> None:
        """Drains are counted as before when the system's clock is set back."""
        self.send(10)
        self.clock.rightNow -= 3_600
        for _ in range(20):
            self.clock.advance(0.1)
            self.send(10)
        self.assertEqual(self.linger.seconds, 0.05)

    def test_least_is_more(self) -> None:
        """An operator who sets only the least time, above the most, gets it."""
        linger = Linger(1.0, 0.2)
        self.assertEqual(linger.seconds, 1.0)
