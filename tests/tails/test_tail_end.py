# SPDX-License-Identifier: Apache-2.0

"""The ends of tails."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from logplex.model.values import NO_REDIS, NO_TAIL
from tests.doubles.session_node import (
    NOW_TEXT,
    Connection,
    SessionNode,
    line,
)
from tests.doubles.tails import HeldSpool

L20 = NOW_TEXT + (
    b" Logplex: Error L20 (Tail sessions forbidden) "
    b"Tail sessions for this app are forbidden due to log volume.\n"
)


class EndTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.node = SessionNode()
        self.node.append(b"one")

    def assert_ended(self, connection: Connection) -> None:
        self.assertTrue(connection.answer().is_whole)
        self.assertTrue(connection.is_closed)
        self.assertEqual(0, sum(sample.value for sample in self.node.tails.samples()))

    def test_no_tail_shows_the_history_then_l20_then_the_end(self) -> None:
        self.node.flag(NO_TAIL)
        connection = self.node.open(tail=True)
        self.assertEqual(line(b"one") + L20, connection.body)
        self.assert_ended(connection)

    def test_no_tail_says_nothing_to_readers_that_want_none(self) -> None:
        self.node.flag(NO_TAIL)
        self.assertEqual(line(b"one"), self.node.open().body)

    def test_no_tail_ends_open_tails(self) -> None:
        connection = self.node.open(tail=True)
        self.node.flag(NO_TAIL)
        self.assertEqual(line(b"one") + L20, connection.body)
        self.assert_ended(connection)

    def test_other_flags_do_not(self) -> None:
        connection = self.node.open(tail=True)
        self.node.flag(NO_REDIS)
        self.assertFalse(connection.answer().is_whole)

    def test_the_channel_is_deleted(self) -> None:
        connection = self.node.open(tail=True)
        self.node.append(b"two")
        self.node.append(b"three")
        self.node.delete()
        self.assertEqual(line(b"one") + line(b"two") + line(b"three"), connection.body)
        self.assert_ended(connection)

    def test_an_operator_ends_all_tails(self) -> None:
        connections = [self.node.open(tail=True), self.node.events()]
        self.node.tails.end_all()
        for connection in connections:
            self.assert_ended(connection)

    def test_the_client_leaves(self) -> None:
        connection = self.node.open(tail=True)
        connection.leave()
        self.node.append(b"two")
        self.assertEqual(line(b"one"), connection.body)
        self.assertEqual(0, sum(sample.value for sample in self.node.tails.samples()))

    def test_a_paused_reader_too(self) -> None:
        connection = self.node.open(tail=True)
        connection.pause()
        self.node.tails.end_all()
        self.assert_ended(connection)

    def test_the_node_stops(self) -> None:
        connection = self.node.open(tail=True)
        self.node.append(b"two")
        self.node.append(b"three")
        stopped = Deferred.fromCoroutine(self.node.tails.stop())
        self.assertEqual(line(b"one") + line(b"two") + line(b"three"), connection.body)
        self.assert_ended(connection)
        self.node.clock.pump([0.1] * 11)
        self.successResultOf(stopped)
        self.assertEqual(503, self.node.get().answer().status)

    def test_a_channel_deleted_while_its_history_is_read(self) -> None:
        spool = HeldSpool(holds_reads=True)
        self.node = SessionNode(spool)
        connection = self.node.open(tail=True)
        self.node.delete()
        spool.answer(spool.reads[0])
        self.assertEqual((404, b"Not found"), (connection.answer().status, connection.body))

    def test_samples(self) -> None:
        self.node.open(tail=True)
        self.node.events()
        self.assertEqual(
            {"logplex_tails": 2, "logplex_tail_channels": 1},
            {sample.name: sample.value for sample in self.node.tails.samples()},
        )
