"""HTTP drains: every rule for batches, answers, tries and times."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import h11
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from logplex.config import Drains
from logplex.destination import HttpDestination, parse_destination
from logplex.drains.answers import retry_after_s
from logplex.drains.buffer import Buffer, Loss
from logplex.drains.courier import Courier, Phase
from logplex.drains.http import HttpCourier, http_pace
from logplex.drains.lifecycle import Lifecycle
from logplex.drains.linger import Linger
from logplex.drains.record import Record
from logplex.drains.tls import CertificateRejected
from logplex.metrics import Counters
from tests.drains.doubles import HighRandom, Link, MiddleRandom, ScriptedEndpoint

#: Sunday, 22 November 2026, 16:00 UTC.
NOW = datetime(2026, 11, 22, 16, tzinfo=UTC).timestamp()

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


def answer(status: int, *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 %d Status" % status, b"Content-Length: 0", *headers, b"", b""]
    return b"\r\n".join(lines)


def message(number: int, size: int = 0) -> bytes:
    return b"<190>1 2026-11-22T15:59:59+00:00 web-7 app web.1 id - number %d%b\n" % (
        number,
        b"x" * size,
    )


def frame(number: int) -> bytes:
    body = b"<190>1 2026-11-22T15:59:59+00:00 host app web.1 - number %d\n" % number
    return b"%d %b" % (len(body), body)


class Request:
    """What a receiver read."""

    def __init__(self, octets: bytes) -> None:
        parser = h11.Connection(h11.SERVER)
        parser.receive_data(octets)
        head = parser.next_event()
        assert isinstance(head, h11.Request), octets
        self.head = head
        self.headers = dict(head.headers)
        self.body = b""
        while isinstance(event := parser.next_event(), h11.Data):
            self.body += bytes(event.data)
        assert isinstance(event, h11.EndOfMessage), event

    @property
    def frame_id(self) -> bytes:
        return self.headers[b"logplex-frame-id"]

    @property
    def count(self) -> int:
        return int(self.headers[b"logplex-msg-count"])


class HttpCase(SynchronousTestCase):
    """A drain with everything but a network."""

    url = "http://receiver.example/logs?key=a"
    random: MiddleRandom = MiddleRandom(1)
    options = Drains()

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.counters = Counters()
        self.losses: list[int] = []
        self.buffer = Buffer(self.clock, self.counters, 1_024, self.losses.append)
        self.endpoint = ScriptedEndpoint()
        self.record = Record()
        destination = parse_destination(self.url)
        assert isinstance(destination, HttpDestination)
        self.courier = HttpCourier(
            destination,
            "d.0815",
            self.buffer,
            self.record,
            self.options,
            self.endpoint,
            self.clock,
            self.random,
        )
        courier: Courier = self.courier
        self.life = Lifecycle(
            courier,
            self.buffer,
            http_pace(self.options, Linger(0.05, 0.05)),
            self.clock,
            self.random,
        )
        self.life.start()
        self.pushed = 0

    def tearDown(self) -> None:
        buffer = self.buffer
        self.assertEqual(buffer.received, buffer.delivered + buffer.dropped + buffer.buffered)

    def push(self, count: int = 1, size: int = 0) -> None:
        first = self.pushed + 1
        self.pushed += count
        self.buffer.push([message(number, size) for number in range(first, first + count)])

    def connected(self, count: int = 1) -> Link:
        """A receiver that has been sent a request."""
        self.push(count)
        self.clock.advance(0)
        return self.endpoint.accept()

    def next_link(self, after_s: float = 0.0) -> Link:
        """The next connection, which is made after so long and no earlier."""
        before = len(self.endpoint.attempts)
        if after_s:
            self.clock.advance(after_s - 0.001)
            self.assertEqual(len(self.endpoint.attempts), before)
            self.clock.advance(0.0011)
        else:
            self.clock.advance(0)
        self.assertEqual(len(self.endpoint.attempts), before + 1)
        return self.endpoint.accept()

    def assert_counts(self, delivered: int, dropped: int) -> None:
        self.assertEqual((self.buffer.delivered, self.buffer.dropped), (delivered, dropped))


class Requests(HttpCase):
    """What a request looks like."""

    url = "https://us%20er:pa%40ss@receiver.example:8080/logs?key=a"

    def setUp(self) -> None:
        super().setUp()
        self.push(2)
        self.clock.advance(0)

    def test_request(self) -> None:
        """Line, headers and body are as receivers know them."""
        link = self.endpoint.accept()
        link.protocol.handshakeCompleted()  # type: ignore[attr-defined]
        request = Request(link.received())
        self.assertEqual(request.head.method, b"POST")
        self.assertEqual(request.head.target, b"/logs?key=a")
        self.assertEqual(request.headers[b"host"], b"receiver.example:8080")
        self.assertEqual(request.headers[b"content-type"], b"application/logplex-1")
        self.assertEqual(request.headers[b"logplex-msg-count"], b"2")
        self.assertEqual(request.headers[b"logplex-drain-token"], b"d.0815")
        self.assertEqual(request.headers[b"user-agent"], b"Logplex/1.0.0")
        self.assertEqual(request.headers[b"authorization"], b"Basic dXMgZXI6cGFAc3M=")
        self.assertRegex(request.frame_id, rb"\A[0-9A-F]{32}\Z")
        self.assertEqual(request.body, frame(1) + frame(2))

    def test_waits_for_tls(self) -> None:
        """Over TLS nothing is sent before certificate and name are verified."""
        link = self.endpoint.accept()
        self.assertIs(self.life.phase, Phase.CONNECTING)
        self.assertEqual(link.received(), b"")

    def test_tls_fails(self) -> None:
        """A handshake that fails is a connection that could not be made."""
        link = self.endpoint.accept()
        link.lose(ConnectionLost("certificate verify failed"))
        self.assertIs(self.life.phase, Phase.WAITING)
        self.assertIn("certificate verify failed", str(self.record.last_error))
        self.assert_counts(0, 0)

    def test_tls_rejected(self) -> None:
        """A receiver that cannot prove who it is gets nothing."""
        link = self.endpoint.accept()
        link.lose(CertificateRejected("certificate has expired"))
        self.assertEqual(self.record.last_error, "no connection: certificate has expired")
        self.assertEqual(link.received(), b"")

    def test_tls_hangs(self) -> None:
        """The handshake is within the time for the connection."""
        link = self.endpoint.accept()
        self.clock.advance(2.999)
        self.assertFalse(link.closed)
        self.clock.advance(0.001)
        self.assertTrue(link.closed)
        self.assertEqual(len(self.endpoint.attempts), 2)
        link.lose()


class Batches(HttpCase):
    """What goes into a request, and when."""

    options = evolve(Drains(), http_batch_messages=10, http_batch_bytes=1_000)

    def test_first(self) -> None:
        """The first message leaves at once."""
        self.assertEqual(Request(self.connected().received()).body, frame(1))

    def test_messages(self) -> None:
        """A batch holds so many messages; what is left follows at once."""
        link = self.connected(12)
        self.assertEqual(Request(link.received()).count, 10)
        link.say(OK)
        self.assertEqual(Request(link.received()).count, 2)

    def test_bytes(self) -> None:
        """A batch holds so many bytes."""
        link = self.connected()
        link.say(OK)
        link.received()
        self.push(5, size=300)
        self.clock.advance(0.05)
        request = Request(link.received())
        self.assertEqual(request.count, 2)
        self.assertLessEqual(len(request.body), 1_000)

    def test_larger_message(self) -> None:
        """A message that is larger than a batch goes alone."""
        self.push(size=5_000)
        self.assertEqual(Request(self.connected(3).received()).count, 1)

    def test_linger(self) -> None:
        """While a drain is busy a batch leaves every 50 ms."""
        link = self.connected()
        link.say(OK)
        self.assertEqual(Request(link.received()).count, 1)
        self.push(3)
        self.clock.advance(0.049)
        self.assertEqual(link.received(), b"")
        self.push(3)
        self.clock.advance(0.0011)
        self.assertEqual(Request(link.received()).count, 6)

    def test_full_before_its_time(self) -> None:
        link = self.connected()
        self.push(9)
        link.say(OK)
        link.received()
        self.push()
        self.assertEqual(Request(link.received()).count, 10)

    def test_quiet_moment(self) -> None:
        """After a quiet moment there is no linger."""
        link = self.connected()
        link.say(OK)
        link.received()
        self.clock.advance(0.05)
        self.push()
        self.clock.advance(0)
        self.assertEqual(Request(link.received()).body, frame(2))

    def test_unparsable(self) -> None:
        """What is no message is left out and counted, and is no overflow."""
        self.buffer.push([b"<42> blafasel"])
        link = self.connected()
        self.assertEqual(Request(link.received()).body, frame(1))
        link.say(OK)
        self.assert_counts(1, 1)
        self.assertEqual(self.buffer.unparsable, 1)
        self.assertIsNone(self.buffer.loss)

    def test_only_unparsable(self) -> None:
        """Where nothing is left no request is made."""
        self.buffer.push([b"<42> blafasel"])
        self.clock.advance(0)
        link = self.endpoint.accept()
        self.assertEqual(link.received(), b"")
        self.assertIs(self.life.phase, Phase.QUIET)

    def test_in_order_over_one_connection(self) -> None:
        """Everything arrives once, in order."""
        link = self.connected(100)
        bodies = []
        while octets := link.received():
            bodies.append(Request(octets).body)
            link.say(OK)
            self.clock.advance(0.05)
        self.assertEqual(b"".join(bodies), b"".join(map(frame, range(1, 101))))
        self.assertEqual(len(self.endpoint.attempts), 1)
        self.assert_counts(100, 0)


class Answers(HttpCase):
    """What becomes of a batch."""

    def assert_delivered(self, link: Link, reusable: bool = True) -> None:
        self.assert_counts(1, 0)
        self.assertEqual(link.closed, not reusable)
        self.assertIs(self.life.phase, Phase.QUIET if reusable else Phase.RESTING)
        self.assertEqual(self.record.last_success, self.clock.seconds())

    def test_delivered(self) -> None:
        for octets in (OK, NO_CONTENT, answer(202), answer(299)):
            self.setUp()
            link = self.connected()
            link.say(octets)
            self.assert_delivered(link)

    def test_chunked(self) -> None:
        """A chunked answer, with chunks and trailer in any pieces, is an answer like others."""
        link = self.connected()
        octets = (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2;x=y\r\nok\r\n1\r\n!\r\n0\r\nTrailer: x\r\n\r\n"
        )
        link.say(*(octets[i : i + 1] for i in range(len(octets))))
        self.assert_delivered(link)

    def test_continue(self) -> None:
        """Interim answers are read over, however they come."""
        link = self.connected()
        link.say(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK)
        self.assert_delivered(link)

    def test_connection_close(self) -> None:
        link = self.connected()
        link.say(answer(200, b"Connection: close"))
        self.assert_delivered(link, reusable=False)

    def test_http_1_0(self) -> None:
        """An answer without length ends with the connection."""
        link = self.connected()
        link.say(b"HTTP/1.0 200 OK\r\n\r\nfine")
        self.assert_counts(0, 0)
        link.lose()
        self.assert_counts(1, 0)
        self.assertIs(self.life.phase, Phase.RESTING)

    def test_endless_body(self) -> None:
        """A body is read up to a bound; the status counts, the connection is given up."""
        link = self.connected()
        link.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        for _ in range(17):
            link.say(b"x" * 4_096)
        self.assert_delivered(link, reusable=False)

    def test_slow_body(self) -> None:
        """A body that does not end in time: the status counts."""
        link = self.connected()
        link.say(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx")
        self.clock.advance(5)
        self.assert_delivered(link, reusable=False)

    def test_half_body(self) -> None:
        """So does the status of an answer whose body breaks off."""
        link = self.connected()
        link.say(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx")
        link.lose(ConnectionLost())
        self.assert_counts(1, 0)

    def test_more_than_the_answer(self) -> None:
        """What follows an answer was not asked for, and must not answer the next request."""
        link = self.connected()
        link.say(OK + OK)
        self.assert_delivered(link, reusable=False)

    def test_unasked(self) -> None:
        """What comes while nothing was asked ends the connection."""
        link = self.connected()
        link.say(OK)
        link.say(OK)
        self.assertTrue(link.closed)
        self.assert_counts(1, 0)
        self.assertIs(self.life.phase, Phase.RESTING)

    def test_refused(self) -> None:
        """4xx: the batch is dropped and counted as lost, the connection kept."""
        for status in (400, 401, 404, 410, 413, 499):
            self.setUp()
            link = self.connected(3)
            link.say(answer(status))
            self.assert_counts(0, 3)
            self.assertEqual(self.losses, [3])
            self.assertFalse(link.closed)
            self.assertIs(self.life.phase, Phase.QUIET)
            self.assertEqual(self.record.last_error, f"the receiver answered {status}")

    def test_refused_then_told(self) -> None:
        """The next batch tells of the one that was dropped."""
        link = self.connected(3)
        link.say(answer(404))
        link.received()
        self.clock.advance(1)
        self.push()
        self.clock.advance(0)
        request = Request(link.received())
        self.assertEqual(request.count, 2)
        self.assertIn(b"3 messages dropped since 2026-11-22T16:00:00.000000+00:00.\n", request.body)


class AnyAnswer(HttpCase):
    @settings(deadline=None)
    @given(
        st.lists(
            st.one_of(
                st.binary(max_size=60),
                st.sampled_from(
                    [OK, NO_CONTENT, b"HTTP/1.1 ", b"200 OK\r\n", b"\r\n", b"Content-Length: 3\r\n"]
                ),
            ).filter(bool),
            max_size=6,
        ),
        st.booleans(),
    )
    def test_any_bytes(self, pieces: list[bytes], loses: bool) -> None:
        """Whatever a receiver says, a batch is delivered, dropped, or goes on being tried."""
        self.setUp()
        link = self.connected(3)
        for piece in pieces:
            if not link.closed:
                link.say(piece)
        if loses and not link.closed:
            link.lose(ConnectionLost())
        self.clock.advance(5)
        self.assertIn(self.buffer.buffered, (0, 3))
        self.assertIn(self.buffer.delivered, (0, 3))
        ended = self.life.phase in (Phase.QUIET, Phase.RESTING)
        self.assertEqual(ended, self.buffer.buffered == 0)
        self.tearDown()


class Tries(HttpCase):
    """What uses up a try, and what comes then."""

    def assert_retried(self, link: Link, request: Request, after_s: float) -> Link:
        self.assertTrue(link.closed)
        self.assertIs(self.life.phase, Phase.WAITING)
        again = self.next_link(after_s)
        repeated = Request(again.received())
        self.assertEqual(repeated.frame_id, request.frame_id)
        self.assertEqual(repeated.body, request.body)
        return again

    def test_three_tries(self) -> None:
        """The same batch is tried three times, over new connections, then dropped."""
        for octets in (
            *map(answer, (300, 301, 302, 304, 307, 308, 429, 500, 502, 503, 599)),
            b"hello there\r\n\r\n",
            b"HTTP/1.1 20x OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000,
        ):
            self.setUp()
            link = self.connected(2)
            request = Request(link.received())
            link.say(octets)
            link = self.assert_retried(link, request, 0.25)
            link.say(octets)
            link = self.assert_retried(link, request, 1.0)
            self.assert_counts(0, 0)
            link.say(octets)
            self.assertTrue(link.closed)
            self.assert_counts(0, 2)
            self.assertIs(self.life.phase, Phase.RESTING)

    def test_second_try_succeeds(self) -> None:
        link = self.connected()
        link.say(answer(500))
        self.next_link(0.25).say(OK)
        self.assert_counts(1, 0)

    def test_tries_are_a_batchs(self) -> None:
        """The next batch has three tries of its own, and an id of its own."""
        link = self.connected()
        first = Request(link.received())
        link.say(answer(500))
        link = self.next_link(0.25)
        link.say(OK)
        link.received()
        self.clock.advance(1)
        self.push()
        self.clock.advance(0)
        second = Request(link.received())
        self.assertNotEqual(first.frame_id, second.frame_id)
        for wait_s in (0.25, 1.0):
            link.say(answer(500))
            link = self.next_link(wait_s)
        link.say(OK)
        self.assert_counts(2, 0)

    def test_redirect_is_not_followed(self) -> None:
        link = self.connected()
        request = Request(link.received())
        link.say(answer(302, b"Location: http://inside.example/"))
        self.assert_retried(link, request, 0.25)

    def test_silence(self) -> None:
        """5 s without a whole answer; an interim answer is not one."""
        for octets in (b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-"):
            self.setUp()
            link = self.connected()
            request = Request(link.received())
            self.clock.advance(4)
            if octets:
                link.say(octets)
            self.clock.advance(0.999)
            self.assertFalse(link.closed)
            self.clock.advance(0.001)
            self.assert_retried(link, request, 0.25)

    def test_lost(self) -> None:
        """A new connection that is lost before or within the answer's head."""
        for octets in (b"", b"HTTP/1.1 200 OK\r\nContent-"):
            self.setUp()
            link = self.connected()
            request = Request(link.received())
            link.say(octets)
            link.lose(ConnectionLost())
            self.assert_retried(link, request, 0.25)

    def test_refused_connections_use_no_try(self) -> None:
        """A connection that cannot be made uses no try, whatever is under way."""
        link = self.connected()
        link.say(answer(500))
        self.clock.advance(0.25)
        for _ in range(20):
            self.endpoint.refuse()
            self.clock.advance(6)
        link = self.endpoint.accept()
        link.say(answer(500))
        self.next_link(1.0).say(OK)
        self.assert_counts(1, 0)

    def test_messages_wait_behind(self) -> None:
        """What comes while a batch is tried waits, and follows in order."""
        link = self.connected()
        link.say(answer(500))
        self.push()
        link = self.next_link(0.25)
        self.assertEqual(Request(link.received()).body, frame(1))
        link.say(OK)
        self.clock.advance(0.05)
        self.assertEqual(Request(link.received()).body, frame(2))

    def test_next_after_a_dropped_batch(self) -> None:
        """It comes over a new connection, and tells of the loss first."""
        link = self.connected(2)
        for wait_s in (0.25, 1.0):
            link.say(answer(500))
            link = self.next_link(wait_s)
        self.push()
        link.say(answer(500))
        request = Request(self.next_link(0.05).received())
        self.assertEqual(request.count, 2)
        self.assertIn(b"2 messages dropped", request.body)


class IdleCloses(HttpCase):
    """An idle connection that the receiver closed costs no try."""

    def test_seen(self) -> None:
        """The drain has seen the close: the next message makes a new connection."""
        link = self.connected()
        link.say(OK)
        link.lose()
        self.assertIs(self.life.phase, Phase.RESTING)
        self.push()
        link = self.next_link(0.05)
        self.assertEqual(Request(link.received()).body, frame(2))
        self.assertIsNone(self.record.last_error)

    def test_seen_while_lingering(self) -> None:
        link = self.connected()
        link.say(OK)
        self.push()
        link.lose()
        link = self.next_link(0.05)
        self.assertEqual(Request(link.received()).body, frame(2))

    def race(self) -> Link:
        """A connection that has served, and on which a second request was sent."""
        link = self.connected()
        link.say(OK)
        link.received()
        self.clock.advance(1)
        self.push()
        self.clock.advance(0)
        self.request = Request(link.received())
        return link

    def test_race(self) -> None:
        """The receiver closed just before it could see the request: it is sent at once over a
        new connection, as the same batch, and has all its tries."""
        link = self.race()
        link.lose()
        link = self.next_link()
        self.assertEqual(Request(link.received()).frame_id, self.request.frame_id)
        for wait_s in (0.25, 1.0):
            link.say(answer(500))
            link = self.next_link(wait_s)
        link.say(OK)
        self.assert_counts(2, 0)

    def test_answer_had_begun(self) -> None:
        """A receiver that had begun to answer has seen the request: that is a try."""
        link = self.race()
        link.say(b"HTTP/1.1")
        link.lose()
        self.next_link(0.25)

    def test_silence_is_no_race(self) -> None:
        """A receiver that keeps the connection open and says nothing costs a try."""
        self.race()
        self.clock.advance(5)
        self.next_link(0.25)


class RetryAfter(HttpCase):
    """The receiver says when it can be asked again."""

    def waits(self, status: int, header: bytes) -> float:
        self.setUp()
        link = self.connected()
        link.say(answer(status, b"Retry-After: " + header))
        due = self.life.next_attempt
        assert due is not None
        return due - self.clock.seconds()

    def test_seconds(self) -> None:
        self.assertEqual(self.waits(429, b"7"), 7)
        self.assertEqual(self.waits(503, b"7"), 7)

    def test_date(self) -> None:
        date = format_datetime(datetime(2026, 11, 22, 16, 0, 30, tzinfo=UTC), usegmt=True)
        self.assertEqual(self.waits(503, date.encode()), 30)

    def test_at_most_a_minute(self) -> None:
        self.assertEqual(self.waits(503, b"3600"), 60)
        self.assertEqual(self.waits(503, b"9" * 4_000), 60)
        self.assertEqual(self.waits(503, b"Sun, 22 Nov 2099 16:00:30 GMT"), 60)

    def test_never_sooner(self) -> None:
        """A receiver cannot ask for less than the usual wait, and nonsense asks for nothing."""
        for header in (
            b"0",
            b"-1",
            b"soon",
            b"",
            b"Sun, 22 Nov 2020 16:00:30 GMT",
            b"1e3",
            b"\xb2",
        ):
            self.assertEqual(self.waits(503, header), 0.25)

    def test_after_the_third_try(self) -> None:
        """The next batch waits as long, too."""
        link = self.connected()
        for wait_s in (0.25, 1.0):
            link.say(answer(503))
            link = self.next_link(wait_s)
        link.say(answer(503, b"Retry-After: 20"))
        self.push()
        self.next_link(20.0)

    @settings(deadline=None)
    @given(st.binary(max_size=40))
    def test_anything(self, value: bytes) -> None:
        self.assertGreaterEqual(retry_after_s(value, NOW), 0.0)


class Backoff(HttpCase):
    """Between connections that could not be made."""

    random = HighRandom()

    def test_waits(self) -> None:
        """None after the first two, then longer and longer, up to 5.1 s."""
        self.push()
        self.clock.advance(0)
        waits = []
        for _ in range(14):
            self.endpoint.refuse()
            due = self.life.next_attempt
            assert due is not None
            waits.append(round(due - self.clock.seconds(), 3))
            self.clock.advance(6)
        self.assertEqual(
            waits,
            [0, 0, 0.035, 0.075, 0.155, 0.315, 0.635, 1.275, 2.555, *[5.115] * 5],
        )

    def test_begins_anew(self) -> None:
        """A connection that was made ends the row."""
        self.push()
        self.clock.advance(0)
        for _ in range(5):
            self.endpoint.refuse()
            self.clock.advance(6)
        link = self.endpoint.accept()
        link.say(OK)
        link.lose()
        self.push()
        self.clock.advance(0.05)
        self.endpoint.refuse()
        self.assertEqual(self.life.next_attempt, self.clock.seconds())

    def test_messages_wait(self) -> None:
        """What the buffer holds waits until a connection can be made, and nothing is lost."""
        self.push(1_024)
        self.clock.advance(0)
        for _ in range(10):
            self.endpoint.refuse()
            self.clock.advance(6)
        self.assert_counts(0, 0)
        self.assertIn("refused", str(self.record.last_error))


class Losses(HttpCase):
    """What the receiver is told of what was lost."""

    def test_overflow(self) -> None:
        """A receiver that was away gets what the buffer held, and the exact count of the rest."""
        self.push(1_500)
        self.clock.advance(0)
        link = self.endpoint.accept()
        request = Request(link.received())
        notice = (
            b"<172>1 2026-11-22T16:00:00.000000+00:00 host heroku logplex - Error L10 "
            b"(output buffer overflow): 476 messages dropped "
            b"since 2026-11-22T16:00:00.000000+00:00.\n"
        )
        self.assertEqual(request.count, 401)
        self.assertTrue(request.body.startswith(b"%d %b" % (len(notice), notice) + frame(477)))

    def test_on_top_of_the_bounds(self) -> None:
        """The notice takes no message's place."""
        self.push(1_424)
        link = self.connected()
        self.assertEqual(Request(link.received()).count, 401)

    def test_told_once(self) -> None:
        link = self.connected(1_500)
        self.assertIn(b"L10", link.received())
        link.say(OK)
        self.assertNotIn(b"L10", link.received())

    def test_told_again_until_delivered(self) -> None:
        """Count and time cover all losses since the last notice that was delivered."""
        link = self.connected(1_025)
        for wait_s in (0.25, 1.0):
            link.say(answer(500))
            link = self.next_link(wait_s)
        link.say(answer(500))
        request = Request(self.next_link(0.05).received())
        self.assertIn(b"401 messages dropped since 2026-11-22T16:00:00.000000+00:00.", request.body)

    def test_lost_while_the_notice_is_on_its_way(self) -> None:
        """What is lost meanwhile is told with the next batch."""
        link = self.connected(1_025)
        link.received()
        self.push(500)
        link.say(OK)
        request = Request(link.received())
        self.assertIn(b"100 messages dropped", request.body)


class Shrinking(HttpCase):
    """A drain that has not succeeded for long holds little."""

    def fail_for(self, seconds: float) -> None:
        self.push(1_024)
        self.clock.advance(0)
        self.endpoint.refuse()
        self.clock.advance(seconds)
        self.endpoint.refuse()

    def test_before(self) -> None:
        self.fail_for(299)
        self.assertEqual(self.buffer.buffered, 1_024)

    def test_shrinks(self) -> None:
        self.fail_for(300)
        self.assertEqual(self.buffer.buffered, 10)
        self.assert_counts(0, 1_014)

    def test_grows_again(self) -> None:
        """With the first success the buffer has its full size."""
        self.fail_for(300)
        self.clock.advance(6)
        self.endpoint.accept().say(OK)
        self.push(1_024)
        self.assertEqual(self.buffer.buffered, 1_024)

    def test_quiet_is_not_failing(self) -> None:
        """A drain that had nothing to send for long has not failed for long."""
        link = self.connected()
        link.say(OK)
        link.lose()
        self.clock.advance(3_600)
        self.push(1_024)
        self.clock.advance(0)
        self.endpoint.refuse()
        self.assertEqual(self.buffer.buffered, 1_024)

    def test_refusing_is_failing(self) -> None:
        """A receiver that answers, but takes nothing, is no success."""
        link = self.connected()
        link.say(answer(404))
        self.clock.advance(100)
        for _ in range(3):
            self.push()
            self.clock.advance(0)
            link.say(answer(404))
            self.clock.advance(100)
        self.push(100)
        self.assertEqual(self.buffer.buffered, 10)


class Closing(HttpCase):
    """How connections end when the drain ends them."""

    def test_idle(self) -> None:
        link = self.connected()
        link.say(OK)
        self.clock.advance(144 + 7.4)
        self.assertFalse(link.closed)
        self.clock.advance(0.2)
        self.assertTrue(link.closed)
        link.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_receiver_does_not_close(self) -> None:
        """A receiver that does not agree to the close is left after 5 s (TLS waits for it)."""
        link = self.connected()
        link.say(OK)
        self.successResultOf(self.life.stop(5))
        self.assertTrue(link.transport.disconnecting)
        self.assertFalse(link.transport.disconnected)
        self.clock.advance(5)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_old(self) -> None:
        """A connection ends after 5 h, even in use."""
        link = self.connected()
        for _ in range(299):
            link.say(OK)
            self.clock.advance(60)
            self.push()
            self.clock.advance(0)
        self.clock.advance(4)
        link.say(OK)
        self.clock.advance(54)
        self.assertFalse(link.closed)
        self.push()
        self.clock.advance(3)
        link.say(OK)
        self.assertTrue(link.closed)
        self.assert_counts(301, 0)


class StoppingAndMoving(HttpCase):
    def test_stop_while_sending(self) -> None:
        """What is under way and what waits is sent before the drain stops."""
        link = self.connected()
        self.push(3)
        stopped = self.life.stop(5)
        link.say(OK)
        self.clock.advance(0)
        link.say(OK)
        self.successResultOf(stopped)
        self.assert_counts(4, 0)

    def test_stop_in_vain(self) -> None:
        """After its time everything is in the buffer again, in order, for somebody to count."""
        link = self.connected(2)
        link.say(answer(500))
        self.push()
        stopped = self.life.stop(5)
        self.clock.advance(5)
        self.successResultOf(stopped)
        self.assertEqual(
            [each[-9:] for each in self.buffer.messages], [b"number %d\n" % n for n in (1, 2, 3)]
        )

    def test_retire_while_sending(self) -> None:
        """Nothing is sent after what was under way; what failed waits for the next life, in the
        form in which it came, but for what drains never show."""
        self.buffer.push([b'<190>1 2026-11-22T15:59:59+00:00 h app web.1 id [a b="\\]"] text  [x]'])
        link = self.connected()
        request = Request(link.received())
        retired = self.life.retire()
        self.push()
        self.assertNoResult(retired)
        link.say(answer(503))
        self.successResultOf(retired)
        self.assertEqual(self.buffer.buffered, 3)
        self.assertEqual(self.buffer.in_flight, 0)
        again = HttpCase("setUp")
        again.setUp()
        again.buffer.push(list(self.buffer.messages))
        again.clock.advance(0)
        repeated = Request(again.endpoint.accept().received())
        self.assertEqual(repeated.body, request.body + frame(2))

    def test_loss_survives(self) -> None:
        """What the old receiver was not told, the new one is."""
        link = self.connected(1_025)
        retired = self.life.retire()
        link.lose()
        self.successResultOf(retired)
        loss = self.buffer.loss
        assert loss is not None
        self.assertEqual(loss, Loss(1, NOW))
