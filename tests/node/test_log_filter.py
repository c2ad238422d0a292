# SPDX-License-Identifier: Apache-2.0

"""The level of the node's log."""

from __future__ import annotations

from attrs import fields
from twisted.logger import Logger, LogLevel, LogPublisher
from twisted.trial.unittest import SynchronousTestCase

from logplex.node.reload import LogFilter
from logplex.settings import Log
from tests.doubles.interfaces import LogLines

LEVELS = [level.name for level in LogLevel.iterconstants()]


class LogFilterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.observer = LogLines()
        self.publisher = LogPublisher(self.observer)
        self.log = Logger("a.b", observer=self.publisher)

    def told(self) -> list[str]:
        """Return which levels of events are logged."""
        self.observer.lines.clear()
        for level in LogLevel.iterconstants():
            self.log.emit(level, level.name)
        return self.observer.lines

    def test_levels(self) -> None:
        """Each lets itself and what is above it through."""
        for place, level in enumerate(LEVELS):
            self.setUp()
            LogFilter(self.publisher, level).begin()
            self.assertEqual(self.told(), LEVELS[place:])

    def test_changed(self) -> None:
        """The level can be raised and lowered, for present observers too."""
        log_filter = LogFilter(self.publisher, "error")
        log_filter.begin()
        log_filter.set_level("debug")
        self.assertEqual(self.told(), LEVELS)
        log_filter.set_level("critical")
        self.assertEqual(self.told(), ["critical"])

    def test_standard_error(self) -> None:
        """The last line of a node that cannot start is always written."""
        LogFilter(self.publisher, "critical").begin()
        Logger("stderr", observer=self.publisher).error("port in use")
        self.assertEqual(self.observer.lines, ["port in use"])

    def test_not_begun(self) -> None:
        LogFilter(self.publisher, "critical")
        self.assertEqual(self.told(), LEVELS)

    def test_every_level_can_be_configured(self) -> None:
        for level in LEVELS:
            self.assertEqual(Log(level).level, level)
        self.assertEqual([each.name for each in fields(Log)], ["level"])
