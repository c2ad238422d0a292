# SPDX-License-Identifier: Apache-2.0

"""Clients of ``GET /v3/channels/:id/logs`` that read slowly, or not at all."""

from __future__ import annotations

from logplex.api.v3 import logs
from logplex.syslog.inner import log_frames
from tests.doubles.api import FULL, V3Case, basic
from tests.doubles.session_node import Connection, SlowConnection
from tests.doubles.tails import cooked

TEXT = b"x" * 10_000


class SlowClientTests(V3Case):
    def setUp(self) -> None:
        super().setUp()
        self.formatted: list[int] = []

        def counted(messages: list[bytes]) -> object:
            self.formatted.append(len(messages))
            return log_frames(messages)

        self.patch(logs, "log_frames", counted)
        self.spool.append("app", [cooked(TEXT)] * 100)

    def get(self, connection: Connection) -> Connection:
        lines = [
            "GET /v3/channels/app/logs?num=100 HTTP/1.1",
            "Host: localhost",
            f"Authorization: {basic(FULL.id)}",
        ]
        connection.send("\r\n".join([*lines, "", ""]).encode())
        return connection

    def test_nothing_is_formatted_for_a_client_that_does_not_read(self) -> None:
        connection = self.get(SlowConnection(self.site))
        self.assertLess(sum(self.formatted), 10)
        self.assertLess(len(connection.body), 100_000)
        for _ in range(30):
            if connection.is_closed:
                break
            connection.resume()
        answer = connection.answer()
        self.assertEqual((200, b"100"), (answer.status, answer.headers[b"logplex-msg-count"]))
        self.assertEqual((100, True), (answer.body.count(TEXT), answer.is_whole))
        self.assertLess(max(self.formatted), 10)

    def test_a_client_that_reads_nothing_is_cut_off(self) -> None:
        connection = self.get(SlowConnection(self.site))
        self.clock.advance(119)
        connection.resume()
        self.clock.advance(119)
        self.assertFalse(connection.is_closed)
        self.clock.advance(1)
        self.assertTrue(connection.is_closed)
        self.assertFalse(connection.answer().is_whole)

    def test_a_client_that_leaves(self) -> None:
        connection = self.get(SlowConnection(self.site))
        connection.leave()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_a_client_that_reads(self) -> None:
        connection = self.get(Connection(self.site))
        self.assertEqual(100, connection.body.count(TEXT))
        self.assertTrue(connection.is_closed)
        self.assertEqual([], self.clock.getDelayedCalls())
