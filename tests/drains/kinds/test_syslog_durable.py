# SPDX-License-Identifier: Apache-2.0

"""
Durable syslog drains: a piece is delivered when the peer's kernel has acknowledged it.
"""

from __future__ import annotations

from typing import Any

from logplex.drains.delivery.courier import Courier, Reports
from logplex.drains.delivery.pace import Pace
from tests.doubles.receivers import Link
from tests.drains.kinds.test_syslog import SyslogCase, frame


class DurableSyslogCase(SyslogCase):
    """A drain whose messages are kept until they are acknowledged."""

    def setUp(self) -> None:
        #: The answer of the kernel.
        self.unacknowledged = 0
        super().setUp()
        self.buffer.keeps = True

    def make_courier(self, reports: Reports) -> tuple[Courier[Any], Pace]:
        courier, pace = super().make_courier(reports)
        self.courier.unacknowledged = lambda transport: self.unacknowledged
        return courier, pace


class AcknowledgementTests(DurableSyslogCase):
    def sent(self) -> Link:
        """Return a receiver whose kernel has been sent three messages."""
        self.unacknowledged = 100
        link = self.connected(3)
        self.assertEqual(self.take(link), frame(1) + frame(2) + frame(3))
        return link

    def test_acknowledged_at_once(self) -> None:
        link = self.connected(3)
        self.take(link)
        self.assertEqual((self.buffer.delivered, self.buffer.in_flight), (3, 0))

    def test_not_delivered_before_it_is_acknowledged(self) -> None:
        self.sent()
        self.clock.pump([0.01] * 20)
        self.assertEqual((self.buffer.delivered, self.buffer.in_flight), (0, 3))
        self.unacknowledged = 0
        self.clock.advance(0.06)
        self.assertEqual((self.buffer.delivered, self.buffer.in_flight), (3, 0))

    def test_a_lost_connection_costs_nothing(self) -> None:
        """Messages that were not acknowledged are sent again, whole."""
        self.sent().lose()
        self.assertEqual(self.buffer.delivered, 0)
        self.clock.advance(5)
        self.unacknowledged = 0
        link = self.endpoint.accept()
        self.assertEqual(self.take(link), frame(1) + frame(2) + frame(3))
        self.assertEqual(self.buffer.delivered, 3)

    def test_a_receiver_that_acknowledges_slowly_is_no_failure(self) -> None:
        link = self.sent()
        for left in (80, 60, 40, 20):
            self.clock.pump([0.1] * 30)
            self.unacknowledged = left
        self.assertFalse(link.closed)
        self.unacknowledged = 0
        self.clock.advance(0.1)
        self.assertEqual(self.buffer.delivered, 3)

    def test_a_receiver_that_acknowledges_nothing_is_one(self) -> None:
        link = self.sent()
        self.clock.pump([0.1] * 50)
        self.assertTrue(link.closed)
        self.assertEqual((self.buffer.delivered, self.buffer.dropped), (0, 0))
