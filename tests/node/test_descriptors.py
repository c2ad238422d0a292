# SPDX-License-Identifier: Apache-2.0

"""
The limit of descriptors, and the reserve that inputs leave.
"""

from __future__ import annotations

import resource

from attrs import evolve
from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from logplex.live import Live
from logplex.node.descriptors import (
    Descriptors,
    missing_descriptors,
    next_number,
    process_samples,
    raise_limit,
)
from logplex.settings import Limits, Listen, Settings

PEER = IPv4Address("TCP", "192.0.2.1", 1)


class LimitTests(SynchronousTestCase):
    """The limit of this process."""

    def setUp(self) -> None:
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        self.hard = limits[1]

    def test_the_soft_limit_is_raised_to_the_hard_one(self) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, self.hard))
        limit = raise_limit()
        self.assertEqual(resource.getrlimit(resource.RLIMIT_NOFILE), (limit, self.hard))
        self.assertGreater(limit, 512)

    def test_what_is_missing(self) -> None:
        settings = Settings(
            limits=Limits(syslog_connections=100, logs_connections=200, api_connections=50)
        )
        needed = 100 + 200 + 3 * 50 + 1_000
        self.assertEqual(missing_descriptors(settings, needed), 0)
        self.assertEqual(missing_descriptors(settings, needed - 1), 1)
        alone = evolve(settings, listen=Listen(logs=(), api=(), metrics=()))
        self.assertEqual(missing_descriptors(alone, 0), 100 + 50 + 1_000)

    def test_the_process_has_numbers(self) -> None:
        names = {sample.name for sample in process_samples()}
        self.assertLessEqual({"process_open_fds", "process_max_fds", "process_cpu_seconds"}, names)


class ReserveTests(SynchronousTestCase):
    """Near the limit."""

    def setUp(self) -> None:
        self.clock = Clock()

    def admits(self, listener: str, in_use: int | None, limit: int = 400) -> bool:
        """Return true if a connection is taken while descriptors are in use."""
        self.descriptors = Descriptors(self.clock, limit, Live(Limits()), lambda: in_use)
        factory = self.descriptors.reserving(listener, Factory.forProtocol(Protocol))
        return factory.buildProtocol(PEER) is not None

    def test_inputs_leave_a_quarter(self) -> None:
        for listener in ("syslog", "syslog_tls", "logs"):
            self.assertTrue(self.admits(listener, 299))
            self.assertFalse(self.admits(listener, 300))
            self.assertEqual(self.descriptors.refused, {listener: 1})

    def test_apis_and_metrics_use_a_half_of_it(self) -> None:
        for listener in ("api", "api_v3", "metrics"):
            self.assertTrue(self.admits(listener, 349))
            self.assertFalse(self.admits(listener, 350))

    def test_the_reserve_has_a_bound(self) -> None:
        self.assertTrue(self.admits("syslog", 98_999, 100_000))
        self.assertFalse(self.admits("syslog", 99_000, 100_000))
        self.descriptors.limits.now = Limits(reserved_descriptors=0)
        self.assertTrue(self.descriptors.admit("syslog"))

    def test_none_is_left(self) -> None:
        self.assertFalse(self.admits("metrics", None))

    def test_the_next_number(self) -> None:
        number = next_number()
        self.assertEqual(number, next_number())

    def test_refusals_are_logged_once_a_minute(self) -> None:
        with capturedLogs() as events:
            self.admits("syslog", 400)
            for _ in range(3):
                self.assertFalse(self.descriptors.admit("syslog"))
            self.clock.advance(60)
            self.assertFalse(self.descriptors.admit("syslog"))
        self.assertEqual(len(events), 2)
