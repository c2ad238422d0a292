# SPDX-License-Identifier: Apache-2.0

"""Syslog over TCP: what senders write reaches the router, and nothing else happens."""

from __future__ import annotations

from OpenSSL import SSL
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import alsoProvides

from logplex.inputs.syslog import (
    CLOSE_TIMEOUT_S,
    LAST_CLOSE_TIMEOUT_S,
    LAST_WORDS_S,
    QUIET_S,
    SyslogFactory,
)
from logplex.live import Live
from logplex.metrics import Counters
from logplex.settings import Limits

LIMITS = Live(
    Limits(syslog_connections=3, syslog_idle_timeout_s=100, unknown_token_log_interval_s=60)
)


class TcpTransport(StringTransport):
    """A transport that can do what TCP can."""

    keep_alive = False
    half_closed = False

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self.keep_alive = enabled


class Sender:
    """A sender's end of a connection."""

    def __init__(self, factory: SyslogFactory) -> None:
        self.transport = TcpTransport()
        self.protocol: Protocol = factory.buildProtocol(None)  # type: ignore[assignment]
        self.protocol.makeConnection(self.transport)

    def write(self, *chunks: bytes) -> None:
        for chunk in chunks:
            self.protocol.dataReceived(chunk)

    def leave(self, why: Exception | None = None) -> None:
        self.protocol.connectionLost(Failure(why or ConnectionLost()))

    @property
    def closed(self) -> bool:
        return self.transport.disconnecting

    @property
    def aborted(self) -> bool:
        return self.transport.disconnected

    @property
    def is_read(self) -> bool:
        return self.transport.producerState == "producing"


class SyslogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.counters = Counters()
        self.routed: list[list[bytes]] = []
        self.factory = SyslogFactory(self.route, self.counters, LIMITS, self.clock)

    def route(self, messages: list[bytes], unreadable: int) -> int:
        if b"<13>1 bug" in messages:
            raise RuntimeError("secret")
        self.routed.append(messages)
        return sum(b"unknown" not in message for message in messages)

    def numbers(self) -> tuple[float, float]:
        """Open connections, and refused ones."""
        open_now, refused = [sample.value for sample in self.factory.samples()][:2]
        return open_now, refused


class MessageTests(SyslogTests):
    def test_once_a_chunk(self) -> None:
        """All messages of a chunk are routed together, and a chunk without one is no call."""
        Sender(self.factory).write(b"9 <13>1 one9 <13>1 two11 <13>1 th", b"re", b"e<13>1 four\n")
        self.assertEqual(
            self.routed, [[b"<13>1 one", b"<13>1 two"], [b"<13>1 three", b"<13>1 four"]]
        )

    def test_connections_do_not_mix(self) -> None:
        one, two = Sender(self.factory), Sender(self.factory)
        one.write(b"13 <13>1 one ")
        two.write(b"13 <13>1 two ")
        one.write(b"one")
        two.write(b"two")
        self.assertEqual(self.routed, [[b"<13>1 one one"], [b"<13>1 two two"]])

    def test_other_protocols(self) -> None:
        """Senders that speak TLS or HTTP to the plain port are cut off at once, and counted."""
        for beginning in (
            b"\x16\x03\x01\x02\x00\x01\x00",
            b"GET /healthcheck HTTP/1.1\r\nHost: h\r\n\r\n",
            b"POST /logs HTTP/1.1\r\n",
        ):
            sender = Sender(self.factory)
            sender.write(beginning)
            self.assertTrue(sender.closed)
        self.assertEqual((self.routed, self.counters.malformed), ([], 0))
        self.assertEqual(
            {
                sample.labels["protocol"]: sample.value
                for sample in self.factory.samples()
                if sample.name == "logplex_connections_wrong_protocol"
            },
            {"tls": 1, "http": 2},
        )

    def test_text_like_http(self) -> None:
        """Only the beginning of a connection tells its protocol."""
        sender = Sender(self.factory)
        sender.write(b"GET it done\n", b"GET / HTTP/1.1\n", b"<13>1 one\n")
        self.assertFalse(sender.closed)
        self.assertEqual(self.routed, [[b"<13>1 one"]])

    def test_no_known_token(self) -> None:
        """A connection that brings nothing else is closed, and told once."""
        self.factory.limits = Live(Limits(syslog_unknown_messages=10))
        with capturedLogs() as events:
            sender = Sender(self.factory)
            sender.write(*[b"<13>1 unknown\n"] * 8, b"garbage\n")
            self.assertFalse(sender.closed)
            sender.write(b"<13>1 unknown\n<13>1 one\n", *[b"<13>1 unknown\n"] * 9)
            self.assertFalse(sender.closed)
            sender.write(b"<13>1 unknown\n")
            self.assertTrue(sender.closed)
        self.assertEqual(self.factory.unknown_connections, 1)
        lines = [formatEvent(event) for event in events]
        self.assertIn(
            "syslog from 192.168.1.1: closed, because none of its last 10 messages had a known "
            "token",
            lines,
        )

    def test_malformed_without_end(self) -> None:
        """Frames of one byte are one malformed piece; its bytes count, in whatever chunks."""
        self.factory.limits = Live(Limits(syslog_unknown_messages=10))
        sender = Sender(self.factory)
        # The beginning of the piece counts as one; then each KiB does.
        sender.write(*[b"1 x1"] * (9 * 256 - 1))
        self.assertFalse(sender.closed)
        sender.write(b"1 x1")
        self.assertTrue(sender.closed)
        self.assertEqual(self.factory.unknown_connections, 1)

    def test_long_message_in_chunks(self) -> None:
        """A message that is not complete is not malformed."""
        self.factory.limits = Live(Limits(syslog_unknown_messages=2))
        sender = Sender(self.factory)
        sender.write(b"<13>1 one ", *[b"x" * 100] * 90, b"\n")
        self.assertFalse(sender.closed)
        self.assertEqual(len(self.routed), 1)

    def test_joined_lines(self) -> None:
        """A message is routed once no line has come for a tenth of a second."""
        self.factory.limits = Live(Limits(syslog_join_lines=True))
        sender = Sender(self.factory)
        sender.write(b"<13>1 one\n at x\n")
        self.clock.advance(0.09)
        sender.write(b" at y\n")
        self.clock.advance(0.09)
        self.assertEqual(self.routed, [])
        self.clock.advance(0.01)
        self.assertEqual(self.routed, [[b"<13>1 one\n at x\n at y"]])
        sender.write(b"<13>1 two\n", b"<13>1 three\n at x\n")
        self.assertEqual(self.routed[1:], [[b"<13>1 two"]])
        sender.leave()
        self.assertEqual(self.routed[2:], [[b"<13>1 three\n at x"]])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nothing_is_answered(self) -> None:
        sender = Sender(self.factory)
        sender.write(b"9 <13>1 one", b"garbage\n")
        self.assertEqual(sender.transport.value(), b"")
        self.assertFalse(sender.closed)

    def test_counted(self) -> None:
        sender = Sender(self.factory)
        sender.write(
            b"garbage\n", b"11000 <13>" + b"a" * 10_996, b"garbage\ngarbage\n", b"9 <13>1 one"
        )
        self.assertEqual((self.counters.malformed, self.counters.truncated), (3, 1))

    def test_last_line(self) -> None:
        """The last line of a connection is a message, or malformed, like any other."""
        one, two = Sender(self.factory), Sender(self.factory)
        one.write(b"<13>1 one")
        one.leave()
        two.write(b"9 <13>1 tw")
        two.leave()
        self.assertEqual(self.routed, [[b"<13>1 one"]])
        self.assertEqual(self.counters.malformed, 1)

    def test_bug(self) -> None:
        """A bug in routing costs one connection, and is logged."""
        one, two = Sender(self.factory), Sender(self.factory)
        one.write(b"9 <13>1 bug")
        two.write(b"9 <13>1 two")
        self.assertEqual((one.aborted, two.aborted), (True, False))
        self.assertEqual(self.routed, [[b"<13>1 two"]])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class ComplaintTests(SyslogTests):
    """Bad senders are told of in the log, a line a minute for all of them."""

    def complaints(self, *chunks: bytes, why: Exception | None = None) -> list[str]:
        with capturedLogs() as events:
            sender = Sender(self.factory)
            sender.write(*chunks)
            sender.leave(why)
        return [event["what"] for event in events if event["log_level"] is LogLevel.warn]

    def test_garbage(self) -> None:
        self.assertEqual(self.complaints(b"garbage\n", b"garbage\n"), ["the data is malformed"])
        self.assertEqual(self.complaints(b"garbage\n"), [])
        self.clock.advance(60)
        self.assertEqual(self.complaints(b"garbage\n"), ["the data is malformed"])

    def test_tls(self) -> None:
        self.assertEqual(self.complaints(why=SSL.Error([])), ["TLS failed"])

    def test_good_senders(self) -> None:
        self.assertEqual(self.complaints(b"9 <13>1 one", b"11000 <13>" + b"a" * 10_996), [])


class ConnectionTests(SyslogTests):
    def test_too_many(self) -> None:
        senders = [Sender(self.factory) for _ in range(4)]
        self.assertEqual([sender.aborted for sender in senders], [False, False, False, True])
        senders[3].leave()
        self.assertEqual(self.numbers(), (3, 1))
        senders[0].leave()
        self.assertFalse(Sender(self.factory).aborted)
        self.assertEqual(self.numbers(), (3, 1))

    def test_idle(self) -> None:
        sender = Sender(self.factory)
        self.clock.advance(99)
        self.assertFalse(sender.closed)
        self.clock.advance(1)
        self.assertTrue(sender.closed)

    def test_idle_since_the_last_chunk(self) -> None:
        sender = Sender(self.factory)
        self.clock.advance(60)
        sender.write(b"9 <13>1 o")
        self.clock.advance(99)
        self.assertFalse(sender.closed)
        self.clock.advance(1)
        self.assertTrue(sender.closed)

    def test_cut_off(self) -> None:
        """A connection that does not end when it is closed is cut off."""
        sender = Sender(self.factory)
        self.clock.advance(100)
        self.assertFalse(sender.aborted)
        self.clock.advance(CLOSE_TIMEOUT_S)
        self.assertTrue(sender.aborted)

    def test_keep_alive(self) -> None:
        self.assertTrue(Sender(self.factory).transport.keep_alive)

    def test_nothing_ticks_for_the_gone(self) -> None:
        Sender(self.factory).leave()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class PauseTests(SyslogTests):
    def test_pause(self) -> None:
        """Present and new connections are not read, until they are again."""
        present = Sender(self.factory)
        self.factory.pause()
        new = Sender(self.factory)
        self.assertEqual((present.is_read, new.is_read), (False, False))
        self.factory.resume()
        self.assertEqual((present.is_read, new.is_read), (True, True))
        self.assertTrue(Sender(self.factory).is_read)

    def test_pause_is_not_idleness(self) -> None:
        sender = Sender(self.factory)
        self.factory.pause()
        self.clock.pump([50, 50, 50])
        self.factory.resume()
        self.clock.advance(99)
        self.assertFalse(sender.closed)
        self.clock.advance(100)
        self.assertTrue(sender.closed)


class CloseTests(SyslogTests):
    """Shutdown."""

    def test_nobody_connected(self) -> None:
        self.successResultOf(self.factory.close())

    def test_quiet_connections(self) -> None:
        """The node ends its direction first, so that a sender can notice and write no more."""
        sender = Sender(self.factory)
        self.clock.advance(QUIET_S)
        done = self.factory.close()
        self.assertTrue(sender.transport.half_closed)
        self.clock.advance(QUIET_S / 2)
        self.assertFalse(sender.closed)
        sender.write(b"9 <13>1 one")
        self.clock.pump([QUIET_S] * 2)
        self.assertTrue(sender.closed)
        self.assertEqual(self.routed, [[b"<13>1 one"]])
        self.assertNoResult(done)
        sender.leave()
        self.successResultOf(done)

    def test_one_that_does_not_let_itself_be_closed(self) -> None:
        """A sender over TLS that never reads; TLS has no directions to end."""
        sender = Sender(self.factory)
        alsoProvides(sender.transport, ISSLTransport)
        self.clock.advance(QUIET_S)
        self.factory.close()
        self.assertFalse(sender.transport.half_closed)
        self.assertTrue(sender.closed)
        self.clock.pump([QUIET_S] * int((LAST_WORDS_S + LAST_CLOSE_TIMEOUT_S) / QUIET_S + 2))
        self.assertTrue(sender.aborted)

    def test_busy_connections(self) -> None:
        """Bytes that a sender has written are read."""
        sender = Sender(self.factory)
        done = self.factory.close()
        self.clock.advance(QUIET_S / 2)
        sender.write(b"9 <13>1 one")
        self.clock.advance(QUIET_S / 2)
        self.assertFalse(sender.closed)
        self.clock.advance(QUIET_S)
        self.assertTrue(sender.closed)
        self.assertEqual(self.routed, [[b"<13>1 one"]])
        sender.leave()
        self.successResultOf(done)

    def test_those_who_never_rest(self) -> None:
        sender = Sender(self.factory)
        self.factory.close()
        until = self.clock.seconds() + LAST_WORDS_S
        while self.clock.seconds() < until - QUIET_S:
            self.clock.advance(QUIET_S / 2)
            self.assertFalse(sender.closed)
            sender.write(b"9 <13>1 one")
        self.clock.pump([QUIET_S, QUIET_S])
        self.assertTrue(sender.closed)

    def test_asked_twice(self) -> None:
        sender = Sender(self.factory)
        first, second = self.factory.close(), self.factory.close()
        self.clock.advance(1)
        sender.leave()
        self.successResultOf(first)
        self.successResultOf(second)
