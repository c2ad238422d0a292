"""HTTP drains: what follows from a receiver's answer."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionLost

from logplex.drains.delivery.lifecycle import Phase
from tests.doubles.http_drain import NO_CONTENT, OK, HttpCase, Request, answer
from tests.doubles.receivers import Link


class Answers(HttpCase):
    """What becomes of a batch."""

    def assert_delivered(self, link: Link, reusable: bool = True) -> None:
        self.assert_counts(1, 0)
        self.assertEqual(link.closed, not reusable)
        self.assertIs(self.life.phase, Phase.CONNECTED if reusable else Phase.RESTING)
        self.assertEqual(self.outcome.last_success, self.clock.seconds())

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
            self.assertIs(self.life.phase, Phase.CONNECTED)
            self.assertEqual(self.outcome.last_error, f"the receiver answered {status}")

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
        ended = self.life.phase in (Phase.CONNECTED, Phase.RESTING)
        self.assertEqual(ended, self.buffer.buffered == 0)
        self.tearDown()
