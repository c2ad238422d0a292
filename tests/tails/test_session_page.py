# SPDX-License-Identifier: Apache-2.0

"""The answers of a session's URL (PROTOCOL §7)."""

from __future__ import annotations

import socket
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, fail
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.trial.unittest import SynchronousTestCase

from logplex.interfaces import StoreAway
from logplex.live import Live
from logplex.model.values import NO_REDIS
from logplex.settings import Limits
from logplex.tails.page import END_TIMEOUT_S
from tests.doubles.interfaces import DictConfigStore
from tests.doubles.session_node import (
    SESSION,
    Answer,
    Connection,
    SessionNode,
    SlowConnection,
    line,
)
from tests.doubles.tails import HeldSpool, cooked

HISTORY_IS_AWAY = b"Warning: log history temporarily unavailable."


class PreparedStore(DictConfigStore):
    """Answers as the test says."""

    def __init__(self, answer: Deferred[bytes | None]) -> None:
        super().__init__(Clock())
        self._answer = answer

    def get_session(self, session_id: str) -> Deferred[bytes | None]:
        return self._answer


class HistoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.node = SessionNode()

    def test_the_newest_lines_oldest_first_and_then_the_end(self) -> None:
        self.node.append(b"one", b"two", b"three")
        connection = self.node.open(num="2")
        answer = connection.answer()
        self.assertEqual((200, line(b"two") + line(b"three")), (answer.status, answer.body))
        self.assertTrue(answer.is_whole)
        self.assertTrue(connection.is_closed)

    def test_an_empty_channel(self) -> None:
        answer = self.node.open().answer()
        self.assertEqual((200, b"", True), (answer.status, answer.body, answer.is_whole))

    def test_a_hundred_lines_by_default(self) -> None:
        self.node.append(*[b"%d" % number for number in range(150)])
        self.assertEqual(
            b"".join(line(b"%d" % number) for number in range(50, 150)), self.node.open().body
        )

    def test_a_message_that_ends_in_lf_gets_no_second_one(self) -> None:
        self.node.append(b"one\n")
        self.assertEqual(line(b"one"), self.node.open().body)

    def test_num_counts_lines_after_the_filters(self) -> None:
        self.node.append(b"one", b"two", ps=b"web.1")
        self.node.append(b"three", ps=b"webber.1")
        self.assertEqual(line(b"one") + line(b"two"), self.node.open(num=2, ps="web").body)

    def test_source(self) -> None:
        self.node.append(b"one")
        self.node.append(b"two", source=b"heroku")
        self.assertEqual(line(b"two", source=b"heroku"), self.node.open(source="heroku").body)

    def test_what_cannot_be_parsed_is_left_out_and_counted(self) -> None:
        self.node.spool.append("app-1", [b"<42> blafasel", cooked(b"one")])
        self.assertEqual(line(b"one"), self.node.open(num=2, source="app").body)
        self.assertEqual(1, self.node.counters.tail_unparsable)

    def test_a_long_history_goes_out_as_the_client_reads(self) -> None:
        text = b"x" * 10_000
        self.node.append(*[text] * 100)
        self.node.put_session()
        connection = self.node.get(connection=SlowConnection(self.node.site))
        size = len(connection.body)
        self.assertLess(size, 100_000)
        for _ in range(20):
            if connection.is_closed:
                break
            connection.resume()
            self.assertLess(len(connection.body) - size, 100_000)
            size = len(connection.body)
        self.assertEqual(line(text) * 100, connection.body)

    def test_canary_fetch_shows_the_history_and_never_tails(self) -> None:
        self.node.append(b"one")
        self.node.put_session(tail=True)
        answer = self.node.get(path=b"/v2/canary-fetch/" + SESSION.encode()).answer()
        self.assertEqual((line(b"one"), True), (answer.body, answer.is_whole))


class HeaderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.node = SessionNode()

    def test_plain_text(self) -> None:
        headers = self.node.open().answer().headers
        del headers[b"date"]
        self.assertEqual(
            {
                b"content-type": b"text/html; charset=utf-8",
                b"x-content-type-options": b"nosniff",
                b"content-security-policy": b"sandbox; default-src 'none'",
                b"cache-control": b"no-cache",
                b"x-accel-buffering": b"no",
                b"connection": b"close",
                b"transfer-encoding": b"chunked",
            },
            headers,
        )

    def test_events(self) -> None:
        self.node.put_session()
        for accept in (
            b"Accept: text/event-stream",
            b"Accept: text/html;q=0.5, Text/Event-Stream ;q=1",
            b"Accept: text/html\r\nAccept: text/event-stream",
        ):
            headers = self.node.get(accept).answer().headers
            self.assertEqual(b"text/event-stream; charset=utf-8", headers[b"content-type"])
            self.assertEqual(b"nosniff", headers[b"x-content-type-options"])

    def test_events_at_any_quality_but_0(self) -> None:
        self.node.put_session()
        for accept, events in (
            (b"text/event-stream;q=0.001", True),
            (b"text/event-stream;q=0", False),
            (b"text/plain, text/event-stream; Q=0.000", False),
            (b"text/event-stream;charset=utf-8; q=0.0", False),
            (b"text/event-stream;q=0.5", True),
            (b"text/event-streams", False),
            (b"*/*", False),
            (b"text/*", False),
        ):
            content_type = self.node.get(b"Accept: " + accept).answer().headers[b"content-type"]
            self.assertEqual(events, content_type.startswith(b"text/event-stream"), accept)

    def test_errors_are_not_cached_or_held_back(self) -> None:
        headers = self.node.get().answer().headers
        self.assertEqual(
            (b"no-cache", b"no", b"text/html; charset=utf-8"),
            (
                headers[b"cache-control"],
                headers[b"x-accel-buffering"],
                headers[b"content-type"],
            ),
        )

    def test_never_compressed(self) -> None:
        self.node.append(b"one")
        self.node.put_session()
        answer = self.node.events(b"Accept-Encoding: gzip, deflate").answer()
        self.assertNotIn(b"content-encoding", answer.headers)
        self.assertIn(line(b"one"), answer.body)

    def test_discarded_history(self) -> None:
        self.node.flag(NO_REDIS)
        self.assertEqual(
            b"Warning: log history discarded due to excessive volume.",
            self.node.open().answer().headers[b"x-heroku-warning"],
        )

    def test_http_1_0_gets_lines_until_the_connection_closes(self) -> None:
        self.node.append(b"one")
        self.node.put_session()
        connection = self.node.get(version=b"HTTP/1.0")
        answer = connection.answer()
        self.assertNotIn(b"transfer-encoding", answer.headers)
        self.assertEqual((line(b"one"), True), (answer.body, connection.is_closed))

    def test_head(self) -> None:
        self.node.append(b"one")
        self.node.put_session(tail=True)
        connection = self.node.get(b"Accept: text/event-stream", method=b"HEAD")
        answer = connection.answer()
        self.assertEqual((200, b""), (answer.status, answer.body))
        self.assertEqual(b"text/event-stream; charset=utf-8", answer.headers[b"content-type"])
        self.assertTrue(connection.is_closed)


class OtherOriginTests(SynchronousTestCase):
    """Browsers that read a session for a page of another origin."""

    PAGE = b"Origin: https://logs.example.com"

    def headers(self, origins: tuple[str, ...], *lines: bytes, **request: Any) -> Answer:
        self.node = SessionNode(cors_origins=origins)
        self.node.put_session()
        return self.node.get(*lines, **request).answer()

    def test_none_by_default(self) -> None:
        headers = self.headers((), self.PAGE).headers
        self.assertNotIn(b"access-control-allow-origin", headers)
        self.assertNotIn(b"vary", headers)

    def test_an_origin_of_the_option(self) -> None:
        headers = self.headers(("http://a", "https://logs.example.com"), self.PAGE).headers
        self.assertEqual(
            (b"https://logs.example.com", b"Origin"),
            (headers[b"access-control-allow-origin"], headers[b"vary"]),
        )

    def test_another_origin(self) -> None:
        for origin in (b"https://logs.example.com.evil", b"null", b"\xff"):
            headers = self.headers(("https://logs.example.com",), b"Origin: " + origin).headers
            self.assertNotIn(b"access-control-allow-origin", headers)
            self.assertEqual(b"Origin", headers[b"vary"])

    def test_all_origins(self) -> None:
        headers = self.headers(("*",), self.PAGE).headers
        self.assertEqual(b"*", headers[b"access-control-allow-origin"])

    def test_errors_too(self) -> None:
        node = SessionNode(cors_origins=("*",))
        answer = node.get(self.PAGE).answer()
        self.assertEqual(404, answer.status)
        self.assertEqual(b"*", answer.headers[b"access-control-allow-origin"])

    def test_preflight(self) -> None:
        asked = b"Access-Control-Request-Headers: last-event-id"
        answer = self.headers(("*",), self.PAGE, asked, method=b"OPTIONS")
        self.assertEqual((204, b""), (answer.status, answer.body))
        self.assertEqual(b"*", answer.headers[b"access-control-allow-origin"])
        self.assertEqual(b"GET, HEAD", answer.headers[b"access-control-allow-methods"])
        self.assertIn(b"Last-Event-ID", answer.headers[b"access-control-allow-headers"])

    def test_preflight_of_another_origin(self) -> None:
        answer = self.headers(("http://a",), self.PAGE, method=b"OPTIONS")
        self.assertEqual((404, b"Not found"), (answer.status, answer.body))
        self.assertNotIn(b"access-control-allow-origin", answer.headers)


class RefusalTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.node = SessionNode()

    def refused(
        self, status: int, body: bytes, path: bytes = b"/sessions/" + SESSION.encode()
    ) -> None:
        answer = self.node.get(path=path).answer()
        self.assertEqual((status, body), (answer.status, answer.body))

    def test_unknown(self) -> None:
        self.refused(404, b"Not found")

    def test_malformed_ids_are_not_looked_up(self) -> None:
        self.node.store.away = True
        self.refused(404, b"Not found", b"/sessions/x")

    def test_expired(self) -> None:
        self.node.put_session(lifetime_s=360.0)
        self.node.clock.advance(360)
        self.refused(404, b"Not found")

    def test_many_times_while_it_lives(self) -> None:
        self.node.append(b"one")
        self.node.put_session(lifetime_s=360.0)
        for _ in range(3):
            self.assertEqual(line(b"one"), self.node.get().body)
            self.node.clock.advance(100)

    def test_query_parameters_are_ignored(self) -> None:
        self.node.put_session()
        path = b"/sessions/" + SESSION.encode() + b"?srv=1&tail=true"
        self.refused(200, b"", path)

    def test_the_channel_is_gone(self) -> None:
        self.node.put_session()
        self.node.delete()
        self.refused(404, b"Not found")

    def test_a_body_without_channel(self) -> None:
        self.node.store.put_session(SESSION, b"{}", 360.0)
        self.refused(400, b"'channel_id' missing")

    def test_the_store_is_away(self) -> None:
        self.node.put_session()
        self.node.store.away = True
        self.refused(503, b"Logs are temporarily unavailable")

    def test_a_client_of_events_waits_for_the_store(self) -> None:
        """An ``EventSource`` gives up for ever at a 503."""
        self.node.append(b"one")
        self.node.put_session(tail=True)
        self.node.store.away = True
        connection = self.node.events()
        self.node.clock.pump([1.0] * 10)
        self.assertEqual(b"", connection.transport.value())
        self.node.store.away = False
        self.node.clock.pump([1.0])
        self.assertIn(b"one", connection.body)

    def test_a_client_of_events_does_not_wait_for_ever(self) -> None:
        self.node.put_session()
        self.node.store.away = True
        connection, left = self.node.events(), self.node.events()
        self.node.clock.pump([1.0] * 5)
        left.leave()
        self.node.clock.pump([1.0] * 16)
        self.assertEqual(503, connection.answer().status)
        self.assertEqual(b"", left.transport.value())

    def test_the_spool_is_away_and_no_tail_was_asked_for(self) -> None:
        self.node = SessionNode(HeldSpool(is_away=True))
        self.node.put_session()
        answer = self.node.get().answer()
        self.assertEqual((200, b""), (answer.status, answer.body))
        self.assertEqual(HISTORY_IS_AWAY, answer.headers[b"x-heroku-warning"])

    def test_what_can_be_had_while_the_spool_is_away(self) -> None:
        self.node = SessionNode(HeldSpool(is_away=True, waiting=[cooked(b"one"), cooked(b"two")]))
        self.node.put_session(num=1)
        self.refused(200, line(b"two"))

    def test_the_node_starts(self) -> None:
        self.node.put_session()
        self.node.registry.ready = False
        self.refused(503, b"Logs are temporarily unavailable")

    def test_tails_are_denied(self) -> None:
        self.node.rods.now = evolve(self.node.rods.now, deny_tail_sessions=True)
        self.node.put_session(tail=True)
        self.refused(503, b"Tail sessions are denied")
        self.node.put_session()
        self.refused(200, b"")

    def test_too_many_tails_of_the_channel(self) -> None:
        limits = Live(Limits(tails_per_channel=2))
        self.node = SessionNode(limits=limits)
        self.node.put_session(tail=True)
        connections = [self.node.get(), self.node.events()]
        for _ in range(3):
            self.refused(429, b"Too many tails of this channel")
        self.assertEqual(b"10", self.node.get().answer().headers[b"retry-after"])
        self.assertEqual(4, self.node.counters.tails_refused)
        connections[0].leave()
        self.assertEqual(200, self.node.get().answer().status)
        limits.now = Limits(tails_per_channel=0)
        self.refused(429, b"Too many tails of this channel")
        self.node.put_session()
        self.refused(200, b"")

    def test_a_bug_is_a_500_and_is_logged_without_the_url(self) -> None:
        self.node.put_session()
        self.node.sessions.store = PreparedStore(fail(ZeroDivisionError()))
        self.refused(500, b"Internal Server Error")
        (logged,) = self.flushLoggedErrors(ZeroDivisionError)
        self.assertNotIn(SESSION, str(logged))

    def test_a_client_that_leaves_before_the_session_is_found(self) -> None:
        found: Deferred[bytes | None] = Deferred()
        self.node.sessions.store = PreparedStore(found)
        connection = self.node.get()
        connection.leave()
        found.callback(b'{"channel_id": "app-1", "tail": true}')
        self.assertEqual(b"", connection.transport.value())
        self.assertEqual(0, sum(sample.value for sample in self.node.tails.samples()))

    def test_a_failure_after_the_client_has_left(self) -> None:
        found: Deferred[bytes | None] = Deferred()
        self.node.sessions.store = PreparedStore(found)
        connection = self.node.get()
        connection.leave()
        found.errback(StoreAway("away"))
        self.assertEqual(b"", connection.transport.value())


class SocketTransport(StringTransport):
    """A transport with a socket under it, which closes only by force."""

    def __init__(self, handle: socket.socket) -> None:
        super().__init__()
        self.handle = handle
        self.is_aborted = False

    def getHandle(self) -> socket.socket:
        return self.handle

    def abortConnection(self) -> None:
        self.is_aborted = True

    def unregisterProducer(self) -> None:
        """As TCP transports do: more than once is well."""
        self.producer = None


class SocketConnection(Connection):
    def __init__(self, node: SessionNode, handle: socket.socket) -> None:
        self.protocol = node.site.buildProtocol(None)
        self.stubborn = SocketTransport(handle)
        self.protocol.makeConnection(self.stubborn)


class Encrypted(ProtocolWrapper):
    """A layer over a transport that has a handle of its own, as TLS has."""

    def getHandle(self) -> object:
        return object()


class ConnectionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.node = SessionNode()
        self.socket = socket.socket()
        self.addCleanup(self.socket.close)

    def open(self, tail: bool = False) -> SocketConnection:
        connection = SocketConnection(self.node, self.socket)
        self.node.put_session(tail=tail)
        self.node.get(connection=connection)
        return connection

    def test_the_kernel_looks_after_hosts_that_vanish(self) -> None:
        self.open(tail=True)
        option = self.socket.getsockopt
        self.assertEqual(1, option(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        self.assertEqual(60, option(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE))
        self.assertEqual(15, option(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL))
        self.assertEqual(4, option(socket.IPPROTO_TCP, socket.TCP_KEEPCNT))

    def test_the_kernel_looks_after_them_below_tls_too(self) -> None:
        connection = SocketConnection(self.node, self.socket)
        layer = Encrypted(WrappingFactory(Factory()), Protocol())
        layer.transport = connection.stubborn
        connection.protocol.transport = layer
        self.node.put_session(tail=True)
        self.node.get(connection=connection)
        self.assertEqual(1, self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def test_a_client_that_does_not_take_the_end_is_cut_off(self) -> None:
        connection = self.open()
        self.assertTrue(connection.stubborn.disconnecting)
        self.node.clock.advance(END_TIMEOUT_S)
        self.assertFalse(connection.stubborn.is_aborted)
        self.node.clock.advance(connection.protocol.abortTimeout)
        self.assertTrue(connection.stubborn.is_aborted)
