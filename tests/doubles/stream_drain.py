# SPDX-License-Identifier: Apache-2.0

"""A drain over one connection, without a network: what the cases of each kind have in common."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from logplex.drains.delivery.buffer import Buffer
from logplex.drains.delivery.courier import Courier, Outcome, Reports
from logplex.drains.delivery.lifecycle import Lifecycle
from logplex.drains.delivery.pace import Pace
from logplex.metrics import Counters
from logplex.settings import DrainSettings
from tests.doubles.receivers import Link, MiddleRandom, ScriptedEndpoint

#: Sunday, 22 November 2026, 16:00 UTC.
NOW = datetime(2026, 11, 22, 16, tzinfo=UTC).timestamp()


def message(number: int, size: int = 0, end: bytes = b"") -> bytes:
    """Return a cooked message: its number, ``size`` bytes more, and its end."""
    return b"<190>1 2026-11-22T15:59:59+00:00 web-7 app web.1 id - number %d%b%b" % (
        number,
        b"x" * size,
        end,
    )


class StreamDrainCase(SynchronousTestCase):
    """A drain with everything but a network; its kind gives the courier and the pace."""

    #: What the sender writes after each message.
    message_end = b""
    random: MiddleRandom = MiddleRandom(1)
    options = DrainSettings()

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.counters = Counters()
        self.losses: list[int] = []
        self.buffer = Buffer(self.clock, self.counters, 1_024, self.losses.append)
        self.endpoint = ScriptedEndpoint()
        self.outcome = Outcome()
        self.life = Lifecycle(self.make_courier, self.buffer, self.clock, self.random)
        self.buffer.wake = self.life.offer
        self.pushed = 0

    def make_courier(self, reports: Reports) -> tuple[Courier[Any], Pace]:
        """Return the courier and the times of the kind."""
        raise NotImplementedError

    def tearDown(self) -> None:
        buffer = self.buffer
        self.assertEqual(buffer.received, buffer.delivered + buffer.dropped + buffer.buffered)

    def push(self, count: int = 1, size: int = 0) -> None:
        """Give the drain the next messages."""
        first = self.pushed + 1
        self.pushed += count
        numbers = range(first, first + count)
        self.buffer.push([message(number, size, self.message_end) for number in numbers])

    def connected(self, count: int = 1) -> Link:
        """Return a receiver to which the drain has written its first batch."""
        self.push(count)
        self.clock.advance(0)
        return self.endpoint.accept()
