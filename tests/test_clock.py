# SPDX-License-Identifier: Apache-2.0

"""
The two clocks of a node.
"""

from __future__ import annotations

import time

from twisted.internet.base import ReactorBase
from twisted.internet.interfaces import IReactorTime
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock
from twisted.python.components import proxyForInterface
from twisted.trial.unittest import SynchronousTestCase

from logplex.clock import make_steady, wall_s


class ClockTests(SynchronousTestCase):
    """A reactor that does not run, and a machine whose time is set."""

    def setUp(self) -> None:
        self.set_by_s = 0.0
        real = time.time
        self.patch(time, "time", lambda: real() + self.set_by_s)
        self.reactor: ReactorBase = SelectReactor()
        make_steady(self.reactor)

    def test_they_begin_together(self) -> None:
        self.assertApproximates(self.reactor.seconds(), wall_s(self.reactor), 1.0)

    def test_durations_do_not_see_that_the_time_is_set(self) -> None:
        for set_by_s in (-3_600.0, 864_000.0):
            before_s = self.reactor.seconds()
            self.set_by_s = set_by_s
            self.assertApproximates(self.reactor.seconds(), before_s, 1.0)
            self.assertApproximates(wall_s(self.reactor), before_s + set_by_s, 1.0)

    def test_calls_are_scheduled_by_the_steady_clock(self) -> None:
        call = self.reactor.callLater(60, lambda: None)
        self.set_by_s = -3_600.0
        self.assertApproximates(self.reactor.timeout() or 0.0, 60.0, 1.0)
        call.cancel()

    def test_the_clock_of_a_test_shows_both(self) -> None:
        clock = Clock()
        clock.advance(7)
        self.assertEqual(wall_s(clock), 7)

    def test_a_proxy_for_the_reactor_shows_the_time_of_the_machine(self) -> None:
        self.set_by_s = 864_000.0
        proxy = proxyForInterface(IReactorTime)(self.reactor)
        self.assertApproximates(wall_s(proxy) - proxy.seconds(), 864_000.0, 1.0)
