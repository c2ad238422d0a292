# SPDX-License-Identifier: Apache-2.0

"""
Signals before, while and after a node runs.
"""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Any

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from logplex.node.signals import StopSignals, ignore_signals


class IgnoreSignalsTests(SynchronousTestCase):
    """While the node starts."""

    def setUp(self) -> None:
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
            signal.signal(number, signal.SIG_DFL)

    def test_none_of_them_kills(self) -> None:
        ignore_signals()
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            os.kill(os.getpid(), number)

    def test_twistd_may_rotate_its_log_file(self) -> None:
        """It looks if there is a handler in this way."""
        ignore_signals()
        self.assertFalse(signal.getsignal(signal.SIGUSR1))

    def test_a_handler_of_another_stays(self) -> None:
        def handler(number: int, frame: FrameType | None) -> None:
            pass

        signal.signal(signal.SIGUSR2, handler)
        ignore_signals()
        self.assertIs(signal.getsignal(signal.SIGUSR2), handler)


class _Reactor:
    """Calls at once what is to be called from the reactor's thread."""

    def callFromThread(self, call: Any, *args: object) -> None:
        call(*args)


class StopSignalsTests(SynchronousTestCase):
    """SIGTERM, more than once."""

    def setUp(self) -> None:
        self.stops: list[int] = []
        self.killed: list[tuple[int, int]] = []
        for number in (signal.SIGINT, signal.SIGTERM):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
            signal.signal(number, lambda number, frame: self.stops.append(number))
        self.patch(os, "kill", lambda *what: self.killed.append(what))
        reactor: Any = _Reactor()
        self.signals = StopSignals(reactor)
        self.signals.begin()

    def test_an_ignored_one_stays_ignored(self) -> None:
        """Shells start background processes with SIGINT ignored."""
        self.signals.end()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.signals.begin()
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        self.assertEqual(self.stops, [signal.SIGTERM])

    def test_the_first_stops_the_second_is_told_the_third_ends(self) -> None:
        signal.raise_signal(signal.SIGTERM)
        self.assertEqual((self.stops, self.killed), ([signal.SIGTERM], []))
        with capturedLogs() as events:
            signal.raise_signal(signal.SIGINT)
        (event,) = events
        self.assertEqual(
            formatEvent(event), "SIGINT: the node is stopping already; one more ends it at once"
        )
        signal.raise_signal(signal.SIGTERM)
        self.assertEqual(self.stops, [signal.SIGTERM])
        self.assertEqual(self.killed, [(os.getpid(), signal.SIGTERM)])
        self.assertEqual(signal.getsignal(signal.SIGTERM), signal.SIG_DFL)

    def test_a_node_that_stops_by_itself_is_not_stopped_again(self) -> None:
        self.signals.stopping()
        with capturedLogs() as events:
            signal.raise_signal(signal.SIGTERM)
        self.assertEqual((self.stops, len(events)), ([], 1))

    def test_at_the_end_the_earlier_handlers_are_back(self) -> None:
        self.signals.end()
        signal.raise_signal(signal.SIGTERM)
        self.assertEqual(self.stops, [signal.SIGTERM])
