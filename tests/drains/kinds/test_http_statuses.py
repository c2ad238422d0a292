# SPDX-License-Identifier: Apache-2.0

"""HTTP drains: what follows from a receiver's answer."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionLost

from logplex.drains.delivery.states import Phase
from tests.doubles.http_drain import NO_CONTENT, OK, HttpCase, Request, answer, frame
from tests.doubles.receivers import Link


class Answers(HttpCase):
    """Answers, and the results of batches."""

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
        """Bytes after an answer must not be taken for the answer to the next request."""
        link = self.connected()
        link.say(OK + OK)
        self.assert_delivered(link, reusable=False)

    def test_unasked(self) -> None:
        """Bytes without a request end the connection."""
        link = self.connected()
        link.say(OK)
        link.say(OK)
        self.assertTrue(link.closed)
        self.assert_counts(1, 0)
        self.assertIs(self.life.phase, Phase.RESTING)

    def test_refused(self) -> None:
        """Other 4xx: the batch is dropped and counted as lost, the connection kept."""
        for status in (401, 404, 410, 499):
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


class Odd(HttpCase):
    """A success is one, whatever else is odd about its head (PROTOCOL §8)."""

    HEADS = (
        b"HTTP/1.1 200 OK\r\nX-\xe9: a\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nX Y: a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 201\r\n: a\r\n\r\n",
        b"HTTP/1.0 202 Accepted\nX Y: a\n\n",
        b"HTTP/1.1 100 Continue\r\nX-A: b\r\n\r\nHTTP/1.1 200 OK\r\nX Y: a\r\n\r\n",
    )

    def test_delivered(self) -> None:
        for head in self.HEADS:
            self.setUp()
            link = self.connected()
            link.say(head)
            self.assert_counts(1, 0)
            self.assertIsNone(self.outcome.last_error, head)

    def test_in_pieces(self) -> None:
        for head in self.HEADS:
            self.setUp()
            link = self.connected()
            for position in range(len(head)):
                if not link.closed:
                    link.say(head[position : position + 1])
            self.assert_counts(1, 0)

    def test_other_statuses(self) -> None:
        """Nothing else is believed in an odd head: it is garbage."""
        for status in (100, 300, 404, 500):
            self.setUp()
            link = self.connected()
            link.say(b"HTTP/1.1 %d Status\r\nX Y: a\r\n\r\n" % status)
            self.assertEqual(self.buffer.buffered, 1)
            self.assertTrue(link.closed)

    def test_head_that_breaks_off(self) -> None:
        link = self.connected()
        link.say(b"HTTP/1.1 200 OK\r\nX Y: a\r\n")
        link.lose(ConnectionLost())
        self.assertEqual(self.buffer.buffered, 1)


class Halved(HttpCase):
    """A refusal that may be due to one message costs that message only (PROTOCOL §8)."""

    def serve(self, link: Link, bad: set[int], status: int = 400) -> list[Request]:
        """Answer requests until there are no more, and refuse those with a bad message."""
        requests = []
        while octets := link.received():
            requests.append(Request(octets))
            refused = any(frame(number) in requests[-1].body for number in bad)
            link.say(answer(status) if refused else OK)
        return requests

    def test_one_bad_message(self) -> None:
        """The others arrive, at once, over the same connection."""
        for status in (400, 413, 422):
            self.setUp()
            link = self.connected(50)
            requests = self.serve(link, {17}, status)
            self.assert_counts(49, 1)
            self.assertFalse(link.closed)
            ids = {request.frame_id for request in requests}
            self.assertEqual(len(ids), len(requests))
            self.assertEqual(self.losses, [1])

    def test_order(self) -> None:
        link = self.connected(4)
        bodies = [request.body for request in self.serve(link, {2})]
        self.assertEqual(
            bodies,
            [
                b"".join(map(frame, (1, 2, 3, 4))),
                frame(1) + frame(2),
                frame(1),
                frame(2),
                frame(3) + frame(4),
            ],
        )

    def test_new_messages_come_after(self) -> None:
        link = self.connected(2)
        link.received()
        self.push()
        link.say(answer(413))
        self.assertEqual(Request(link.received()).body, frame(1))
        link.say(OK)
        self.assertEqual(Request(link.received()).body, frame(2))
        link.say(OK)
        self.clock.advance(0.05)
        self.assertIn(frame(3), link.received())

    def test_all_too_large(self) -> None:
        """Every message that is refused alone is lost."""
        link = self.connected(5)
        self.serve(link, {1, 2, 3, 4, 5}, 413)
        self.assert_counts(0, 5)

    def test_everything_is_refused(self) -> None:
        """A receiver that refuses everything is not asked hundreds of times at once."""
        link = self.connected(400)
        for _ in range(32):
            self.assertTrue(link.received())
            link.say(answer(400))
        for _ in range(10):
            self.assertTrue(link.received())
            link.say(answer(400))
            self.assertTrue(link.closed)
            link = self.next_link(0.25)
        link.received()
        link.say(OK)
        self.assertTrue(link.received())
        link.say(answer(400))
        self.assertFalse(link.closed)

    def test_connection_ends(self) -> None:
        """A receiver that closes after a refusal gets the halves over new connections, at once."""
        link = self.connected(2)
        link.say(answer(413, b"Connection: close"))
        link = self.next_link()
        self.assertEqual(Request(link.received()).body, frame(1))
        link.say(OK)
        self.assertEqual(Request(link.received()).body, frame(2))
        link.say(OK)
        self.assert_counts(2, 0)

    def test_notice_goes_with_the_first(self) -> None:
        link = self.connected(1_026)
        link.received()
        link.say(answer(413))
        first = Request(link.received())
        self.assertEqual(first.count, 201)
        self.assertIn(b"2 messages dropped", first.body)
        link.say(OK)
        self.assertEqual(Request(link.received()).count, 200)

    def test_half_fails(self) -> None:
        """A half that fails otherwise keeps its id, and the other half waits behind it."""
        link = self.connected(2)
        link.received()
        link.say(answer(413))
        first = Request(link.received())
        link.say(answer(503))
        link = self.next_link(0.25)
        self.assertEqual(Request(link.received()).frame_id, first.frame_id)
        link.say(OK)
        self.assertEqual(Request(link.received()).body, frame(2))

    def test_moved(self) -> None:
        """Halves go to the new receiver in their order."""
        link = self.connected(4)
        link.received()
        link.say(answer(413))
        self.life.move()
        link.say(answer(503))
        self.assertEqual(
            Request(self.next_link().received()).body, b"".join(map(frame, (1, 2, 3, 4)))
        )


class Redirected(HttpCase):
    def shown(self, status: int, location: bytes) -> str:
        self.setUp()
        self.connected().say(answer(status, b"Location: " + location))
        return str(self.outcome.last_error)

    def test_location(self) -> None:
        """The place that a redirect names is shown, without what may be secret in it."""
        self.assertEqual(
            self.shown(301, b"https://us:pa@new.example:8443/logs?key=a#b"),
            "the receiver answered 301, which names https://new.example:8443/logs",
        )
        self.assertTrue(self.shown(307, b"/logs/?key=a").endswith("which names /logs/"))

    def test_nonsense(self) -> None:
        for location in (b"", b"//[", b"?key=a"):
            self.assertEqual(self.shown(302, location), "the receiver answered 302")
        self.assertLess(len(self.shown(302, b"/" * 9_000)), 300)

    def test_only_redirects(self) -> None:
        self.assertEqual(self.shown(503, b"/logs"), "the receiver answered 503")


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
        """After any answer a batch is delivered, dropped, or tried again."""
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
