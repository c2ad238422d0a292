# SPDX-License-Identifier: Apache-2.0

"""The number, the duration and the end of connections."""

from __future__ import annotations

from itertools import accumulate, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import capturedLogs, formatEvent

from logplex.web import Bounds
from logplex.web.connection import HALF_CLOSED_ANSWER_S, HALF_CLOSED_S
from tests.doubles.web import WebTests
from tests.doubles.wire import Wire, body_of, chunks, request, status

GET = request("GET", "/")
POST = request("POST", "/", b"hello")
HEAD_OF_3 = request("POST", "/wait", Content_Length="3")
CHUNKED = request("POST", "/", Transfer_Encoding="chunked") + chunks(b"hel", b"lo")


class WaitingTests(WebTests):
    """The bodies of all requests have a bound together."""

    def setUp(self) -> None:
        super().setUp()
        self.bounds = Bounds(body_bytes=100, connections=99, idle_timeout_s=60, waiting_bytes=5)

    def test_before_the_body(self) -> None:
        """A request gets no 100 and a ``Retry-After`` if there is no room for its body."""
        Wire(self.site).send(HEAD_OF_3 + b"abc")
        for size, code in ((3, 503), (2, 200), (0, 200)):
            wire = Wire(self.site)
            answer = wire.send(
                request("POST", "/", Content_Length=str(size), Expect="100-continue")
            )
            if code == 503:
                self.assertTrue(answer.startswith(b"HTTP/1.1 503 "))
                self.assertIn(b"\r\nRetry-After: 1\r\n", answer)
            else:
                self.assertFalse(answer.startswith(b"HTTP/1.1 503 "))

    def test_in_the_body(self) -> None:
        """A request is refused as soon as its body grows over the bound."""
        one, two = Wire(self.site), Wire(self.site)
        for wire in (one, two):
            wire.send(request("POST", "/wait", Transfer_Encoding="chunked"))
        self.assertEqual(one.send(b"4\r\nabcd\r\n"), b"")
        self.assertEqual(two.send(b"1\r\na\r\n"), b"")
        self.assertEqual(self.site.waiting_bytes, 5)
        self.assertEqual(status(two.send(b"1\r\na\r\n")), 503)
        self.assertEqual(self.site.waiting_bytes, 4)

    def test_room_again(self) -> None:
        """An answer, a refusal and the end of a connection make room."""
        for _ in range(3):
            wire = Wire(self.site)
            self.assertEqual(status(wire.send(request("POST", "/", b"abcde"))), 200)
            self.assertEqual(self.site.waiting_bytes, 0)
            wire.send(HEAD_OF_3 + b"ab")
            self.assertEqual(self.site.waiting_bytes, 2)
            wire.close()
            self.assertEqual(self.site.waiting_bytes, 0)
            wire = Wire(self.site)
            wire.send(HEAD_OF_3 + b"abc")
            self.resource.requests[-1].finish()
            self.assertEqual(self.site.waiting_bytes, 0)
            wire.close()


class SharedRoomTests(WebTests):
    """One address gets at most half of the room for bodies that the others leave free."""

    def setUp(self) -> None:
        super().setUp()
        self.bounds = Bounds(body_bytes=10, connections=99, idle_timeout_s=60, waiting_bytes=40)

    def test_half(self) -> None:
        """At the half a body is taken, above it not, and another address has its own half."""
        one = [Wire(self.site) for _ in range(3)]
        answers = [wire.send(request("POST", "/", Content_Length="10") + b"a" * 9) for wire in one]
        self.assertEqual(answers[:2], [b"", b""])
        self.assertEqual(status(answers[2]), 503)
        self.assertEqual([wire.send(b"") for wire in one[:2]], [b"", b""])
        self.assertTrue(self.site.hold("other", 11))
        self.assertFalse(self.site.hold("other", 1))
        self.site.release("other", 11)
        one[0].close()
        again = Wire(self.site).send(request("POST", "/", b"a" * 10))
        self.assertEqual(status(again), 200)


class ConnectionTests(WebTests):
    """The number and the duration of connections."""

    def test_too_many(self) -> None:
        Wire(self.site)
        third = Wire(self.site)
        self.assertTrue(third.closed)
        third.close()
        self.assertEqual([each.value for each in self.site.samples("api")], [2, 1])

    def test_room_again(self) -> None:
        self.wire.close()
        wires = [Wire(self.site), Wire(self.site)]
        self.assertEqual([wire.closed for wire in wires], [False, False])

    def test_new_bounds(self) -> None:
        """They hold for what comes from then on."""
        self.bounds = Bounds(body_bytes=3, connections=1, idle_timeout_s=10)
        self.assertTrue(Wire(self.site).closed)
        self.assertEqual(status(self.wire.send(request("POST", "/", b"hello"))), 413)
        self.wire.close()
        late = Wire(self.site)
        self.clock.advance(10)
        self.assertTrue(late.closed)

    def test_other_protocols(self) -> None:
        """A connection of another protocol is closed at once, counted, and logged now and then."""
        self.bounds = Bounds(body_bytes=100_000, connections=99, idle_timeout_s=60)
        with capturedLogs() as events:
            for protocol, pieces in (
                ("tls", [b"\x16\x03\x01\x02\x00\x01\x00\x01"]),
                ("syslog", [b"<14>1 - - - - - - x\n"]),
                ("syslog", [b"23 <14>1 - - - - - - x"]),
                ("line_feeds", [b"\n"]),
                ("line_feeds", [b"GET / HTTP/1.1\nHost: h\n\n"]),
                ("line_feeds", [b"GET / HT", b"TP/1.1", b"\n"]),
                ("other", [b"\0\0"]),
            ):
                wire = Wire(self.site)
                self.assertEqual((wire.send(*pieces), wire.closed), (b"", True), protocol)
        counts = {
            sample.labels["protocol"]: sample.value
            for sample in self.site.samples("api")
            if sample.name == "logplex_connections_wrong_protocol"
        }
        self.assertEqual(counts, {"tls": 1, "syslog": 2, "line_feeds": 3, "other": 1})
        self.assertEqual(
            [formatEvent(event) for event in events],
            ["a client at 192.168.1.1 does not speak HTTP/1.1: tls"],
        )

    def test_bad_requests(self) -> None:
        """A request that cannot be read is answered, counted, and logged now and then."""
        self.bounds = Bounds(body_bytes=100_000, connections=99, idle_timeout_s=60)
        bad = [
            b"SSH-2.0-client\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: %b\r\n\r\n" % (b"9" * 5_000),
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n",
        ]
        with capturedLogs() as events:
            for data in bad:
                wire = Wire(self.site)
                self.assertEqual((status(wire.send(data)), wire.closed), (400, True), data[:40])
        counts = [
            (sample.labels["protocol"], sample.value)
            for sample in self.site.samples("api")
            if sample.name == "logplex_connections_wrong_protocol"
        ]
        self.assertEqual(counts, [("bad_request", len(bad))])
        self.assertEqual(
            [formatEvent(event) for event in events],
            ["a client at 192.168.1.1 does not speak HTTP/1.1: bad_request"],
        )

    def test_http_in_pieces(self) -> None:
        """A head may come in any number of pieces, and after an empty line."""
        whole = b"\r\n" + request("POST", "/", b"a\nb")
        for size in (1, 2, 3):
            wire = Wire(self.site)
            answer = wire.send(*[whole[at : at + size] for at in range(0, len(whole), size)])
            self.assertEqual((status(answer), body_of(answer)), (200, b"a\nb"))
            self.assertEqual(status(wire.send(request("GET", "/"))), 200)
            wire.close()

    def test_idle(self) -> None:
        self.clock.advance(59)
        self.assertFalse(self.wire.closed)
        self.clock.advance(1)
        self.assertTrue(self.wire.closed)

    def test_body_does_not_come(self) -> None:
        self.wire.send(request("POST", "/", Content_Length="5") + b"hell")
        self.clock.advance(60)
        self.assertTrue(self.wire.closed)

    def test_dripping_head(self) -> None:
        """A head has the idle timeout in all, from its first byte."""
        self.clock.advance(59)
        for byte in GET[:30]:
            self.wire.send(bytes([byte]))
            self.assertFalse(self.wire.closed)
            self.clock.advance(2)
        self.assertTrue(self.wire.closed)

    def test_dripping_body(self) -> None:
        """A body that is slower than the least rate is not given more time by its bytes."""
        for step_s, piece, lives in ((1.0, b"x" * 1_000, True), (1.0, b"x" * 999, False)):
            wire = Wire(self.site)
            wire.send(request("POST", "/", Content_Length="100000"))
            for _ in range(70):
                self.clock.advance(step_s)
                wire.send(piece)
            self.assertEqual(wire.closed, not lives)
            wire.close()

    def test_head_after_an_answer(self) -> None:
        """Each request has its own time."""
        for _ in range(3):
            self.wire.send(GET[:5])
            self.clock.advance(59)
            self.assertEqual(status(self.wire.send(GET[5:])), 200)
            self.clock.advance(59)

    def test_streaming_is_not_idle(self) -> None:
        self.wire.send(request("GET", "/stream"))
        self.clock.advance(100_000)
        self.assertFalse(self.wire.closed)
        self.resource.requests[0].finish()
        self.clock.advance(60)
        self.assertTrue(self.wire.closed)

    def test_answer_that_is_not_read(self) -> None:
        """The client has the idle timeout, and as long as the answer takes at the least rate."""
        # As TCP transports do: more than once is well.
        self.patch(self.wire.transport, "unregisterProducer", lambda: None)
        self.wire.send(request("POST", "/", b"x" * 10_000, Connection="close"))
        self.clock.advance(69)
        self.clock.advance(self.wire.channel.abortTimeout)
        self.assertFalse(self.wire.aborted)
        self.clock.advance(1)
        self.clock.advance(self.wire.channel.abortTimeout)
        self.assertTrue(self.wire.aborted)

    def test_no_clock_ticks(self) -> None:
        """Nothing runs for a site without connections."""
        self.wire.close()
        self.site.doStart()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.site.doStop()


class HalfCloseTests(WebTests):
    """Clients that close their side as soon as they have asked (``nc -N``)."""

    def test_answer_that_comes_later(self) -> None:
        self.wire.send(request("GET", "/wait"))
        self.wire.close_side()
        self.clock.advance(HALF_CLOSED_S - 1)
        self.assertFalse(self.wire.closed)
        self.resource.requests[0].write(b"last")
        self.resource.requests[0].finish()
        self.assertIn(b"last", self.wire.received())
        self.assertTrue(self.wire.closed)
        self.assertFalse(self.wire.aborted)

    def test_several_requests(self) -> None:
        """Also those that wait for the answer to the first."""
        stream = request("GET", "/stream")
        answer = self.wire.send(stream + stream + request("GET", "/"))
        self.wire.close_side()
        for place in range(2):
            self.assertFalse(self.wire.closed)
            self.resource.requests[place].finish()
        answer += self.wire.received()
        self.assertEqual(answer.count(b"HTTP/1.1 200"), 3)
        self.assertTrue(self.wire.closed)

    def test_answer_that_takes_too_long(self) -> None:
        """The client may be gone."""
        self.wire.send(request("GET", "/wait"))
        self.wire.close_side()
        self.clock.advance(HALF_CLOSED_S - 1)
        self.assertFalse(self.wire.aborted)
        self.clock.advance(1)
        self.assertTrue(self.wire.aborted)

    def test_reader_who_leaves(self) -> None:
        """A client that half-closes in a stream is most likely gone; it gets what was written."""
        self.wire.send(request("GET", "/stream"))
        self.wire.close_side()
        self.clock.advance(HALF_CLOSED_ANSWER_S - 0.1)
        self.assertFalse(self.wire.closed)
        self.clock.advance(0.1)
        self.assertTrue(self.wire.closed)
        self.assertFalse(self.wire.aborted)

    def test_rest_that_never_comes(self) -> None:
        for begun in (b"", b"GET / HT", request("POST", "/", Content_Length="5") + b"hell"):
            wire = Wire(self.site)
            wire.send(begun)
            wire.close_side()
            self.assertTrue(wire.closed)
            self.assertEqual(wire.received(), b"")
            wire.close()
        self.assertEqual(self.resource.requests, [])

    @settings(deadline=None)
    @given(st.lists(st.sampled_from([GET, POST, CHUNKED]), max_size=4), st.data())
    def test_at_any_moment(self, requests: list[bytes], data: st.DataObject) -> None:
        """A complete request is answered, however it was cut, and the connection ends."""
        sent = b"".join(requests)
        end = data.draw(st.integers(0, len(sent)))
        cuts = sorted(data.draw(st.sets(st.integers(1, end), max_size=5))) if end else []
        wire = Wire(self.site)
        pieces = [sent[start:stop] for start, stop in pairwise([0, *cuts, end])]
        answer = wire.send(*filter(None, pieces))
        wire.close_side()
        self.assertTrue(wire.closed)
        whole = [each for each in accumulate(map(len, requests)) if each <= end]
        self.assertEqual((answer + wire.received()).count(b"HTTP/1.1 200 OK"), len(whole))
        wire.close()

    def test_nothing_is_left(self) -> None:
        self.wire.send(request("GET", "/stream"))
        self.wire.close_side()
        self.wire.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class CloseTests(WebTests):
    """Shutdown."""

    def test_no_connections(self) -> None:
        self.wire.close()
        self.successResultOf(self.site.close())

    def test_other_protocols(self) -> None:
        """A connection of another protocol is closed at once, counted, and logged now and then."""
        self.bounds = Bounds(body_bytes=100_000, connections=99, idle_timeout_s=60)
        with capturedLogs() as events:
            for protocol, pieces in (
                ("tls", [b"\x16\x03\x01\x02\x00\x01\x00\x01"]),
                ("syslog", [b"<14>1 - - - - - - x\n"]),
                ("syslog", [b"23 <14>1 - - - - - - x"]),
                ("line_feeds", [b"\n"]),
                ("line_feeds", [b"GET / HTTP/1.1\nHost: h\n\n"]),
                ("line_feeds", [b"GET / HT", b"TP/1.1", b"\n"]),
                ("other", [b"\0\0"]),
            ):
                wire = Wire(self.site)
                self.assertEqual((wire.send(*pieces), wire.closed), (b"", True), protocol)
        counts = {
            sample.labels["protocol"]: sample.value
            for sample in self.site.samples("api")
            if sample.name == "logplex_connections_wrong_protocol"
        }
        self.assertEqual(counts, {"tls": 1, "syslog": 2, "line_feeds": 3, "other": 1})
        self.assertEqual(
            [formatEvent(event) for event in events],
            ["a client at 192.168.1.1 does not speak HTTP/1.1: tls"],
        )

    def test_http_in_pieces(self) -> None:
        """A head may come in any number of pieces, and after an empty line."""
        whole = b"\r\n" + request("POST", "/", b"a\nb")
        for size in (1, 2, 3):
            wire = Wire(self.site)
            answer = wire.send(*[whole[at : at + size] for at in range(0, len(whole), size)])
            self.assertEqual((status(answer), body_of(answer)), (200, b"a\nb"))
            self.assertEqual(status(wire.send(request("GET", "/"))), 200)
            wire.close()

    def test_idle(self) -> None:
        done = self.site.close()
        self.assertTrue(self.wire.closed)
        self.assertNoResult(done)
        self.wire.close()
        self.successResultOf(done)

    def test_answer_first(self) -> None:
        """A request that has begun is read and answered."""
        self.wire.send(request("POST", "/", Content_Length="5"))
        self.site.close()
        self.assertFalse(self.wire.closed)
        self.assertEqual(body_of(self.wire.send(b"hello")), b"hello")
        self.assertTrue(self.wire.closed)

    def test_answer_that_streams(self) -> None:
        self.wire.send(request("GET", "/stream"))
        self.site.close()
        self.assertFalse(self.wire.closed)
        self.resource.requests[0].finish()
        self.assertTrue(self.wire.closed)
