"""Our HTTP servers: refusals before the body, bounds, and no word too many."""

from __future__ import annotations

from io import BytesIO

from attrs import Factory, define, evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from logplex.web import (
    HALF_CLOSED_S,
    MAX_DISCARDED_BYTES,
    Bounds,
    Refusal,
    Request,
    Site,
    plain_refusal,
)
from tests.wire import Wire, body_of, chunks, request, status

FORBIDDEN = plain_refusal(403, "no", (b"X-Why", b"because"))
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@define(eq=False)
class Echo(Resource):
    """Answers with the body; some paths behave in their own way."""

    isLeaf = True
    requests: list[Request] = Factory(list)
    kept_in: set[type] = Factory(set)

    def render(self, request: Request) -> bytes | int:
        self.requests.append(request)
        self.kept_in.add(type(request.content))
        if request.path == b"/bug":
            raise RuntimeError("secret")
        if request.path == b"/late-bug":
            request.write(b"begun")
            raise RuntimeError("secret")
        if request.path == b"/stream":
            request.write(b"first")
            return NOT_DONE_YET
        return request.content.read()


def admit(request: Request) -> Refusal | None:
    request.setHeader(b"Request-Id", b"7")
    if request.path == b"/admission-bug":
        raise RuntimeError("secret")
    if request.path == b"/later":
        return evolve(FORBIDDEN, delay_s=3)
    return FORBIDDEN if request.path == b"/forbidden" else None


class WebTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.resource = Echo()
        self.bounds = Bounds(body_bytes=100_000, connections=2, idle_timeout_s=60)
        self.site = Site(
            self.resource,
            admit=admit,
            bounds=lambda: self.bounds,
            clock=self.clock,
        )
        self.wire = Wire(self.site)


class AnswerTests(WebTests):
    """Requests that are not refused."""

    def test_body(self) -> None:
        answer = self.wire.send(request("POST", "/", b"hello"))
        self.assertEqual((status(answer), body_of(answer)), (200, b"hello"))

    def test_chunked(self) -> None:
        head = request("POST", "/", Transfer_Encoding="chunked")
        answer = self.wire.send(head, chunks(b"hel", b"lo"))
        self.assertEqual((status(answer), body_of(answer)), (200, b"hello"))

    def test_kept_connection(self) -> None:
        """Requests follow each other, also where one was refused that had no body."""
        twice = request("GET", "/forbidden") + request("POST", "/", b"hello")
        answer = self.wire.send(twice, request("POST", "/", b"again"))
        self.assertEqual(answer.count(b"HTTP/1.1 200"), 2)
        self.assertEqual(answer.count(b"HTTP/1.1 403"), 1)
        self.assertFalse(self.wire.closed)

    def test_continue(self) -> None:
        head = request("POST", "/", Expect="100-continue", Content_Length="5")
        self.assertEqual(self.wire.send(head), CONTINUE)
        self.assertEqual(body_of(self.wire.send(b"hello")), b"hello")

    def test_body_in_memory(self) -> None:
        self.wire.send(request("POST", "/", b"x" * 100_000))
        self.wire.send(request("POST", "/", Transfer_Encoding="chunked"), chunks(b"hello"))
        self.assertEqual(self.resource.kept_in, {BytesIO})

    def test_forms_are_not_parsed(self) -> None:
        form = request("POST", "/", b"a=b", Content_Type="application/x-www-form-urlencoded")
        self.assertEqual(body_of(self.wire.send(form)), b"a=b")
        self.assertEqual(self.resource.requests[0].args, {})

    def test_discreet(self) -> None:
        """No answer says which software made it."""
        for path in ("/", "/forbidden", "/bug"):
            self.assertNotIn(b"Server:", self.wire.send(request("GET", path)))
        self.flushLoggedErrors(RuntimeError)

    def test_headers_of_admission(self) -> None:
        """What the admission sets is on every answer."""
        for path in ("/", "/forbidden", "/bug"):
            self.assertIn(b"Request-Id: 7\r\n", self.wire.send(request("GET", path)))
        self.flushLoggedErrors(RuntimeError)

    def test_no_http_2(self) -> None:
        self.assertEqual(self.site.acceptableProtocols(), [b"http/1.1"])


class LateRefusalTests(WebTests):
    """Refusals that are to be given after a time."""

    def test_without_body(self) -> None:
        """The answer comes late, and the next request after it."""
        self.assertEqual(self.wire.send(request("GET", "/later") + request("GET", "/")), b"")
        self.clock.advance(2.9)
        self.assertEqual(self.wire.received(), b"")
        self.clock.advance(0.1)
        answer = self.wire.received()
        self.assertEqual(status(answer), 403)
        self.assertEqual(answer.count(b"HTTP/1.1 200"), 1)

    def test_with_body(self) -> None:
        """Whether the body comes before the answer, after it, or never whole."""
        head = request("POST", "/later", Content_Length="10")
        for before, after, closes in (
            (b"x" * 10, b"", True),
            (b"", b"x" * 10, True),
            (b"x", b"", False),
        ):
            wire = Wire(self.site)
            self.assertEqual(wire.send(head, before), b"")
            self.clock.advance(3)
            self.assertEqual(status(wire.received()), 403)
            wire.send(after)
            self.assertEqual(wire.closed, closes)
            wire.close()
        self.assertEqual(self.resource.requests, [])

    def test_too_much_body(self) -> None:
        """Who does not stop sending meanwhile gets no answer at all."""
        head = request("POST", "/later", Content_Length="90000000")
        self.wire.send(head, b"x" * (MAX_DISCARDED_BYTES + 1))
        self.assertTrue(self.wire.closed)

    def test_client_leaves(self) -> None:
        """Nothing is waited for any more."""
        self.wire.send(request("GET", "/later"))
        self.wire.close()
        self.clock.advance(3)
        self.assertEqual(self.wire.received(), b"")
        self.assertEqual(self.clock.getDelayedCalls(), [])


class RefusalTests(WebTests):
    """Requests that are refused on their head."""

    def test_before_the_body(self) -> None:
        answer = self.wire.send(request("POST", "/forbidden", Content_Length="50000"))
        self.assertEqual((status(answer), body_of(answer)), (403, b"no"))
        self.assertIn(b"X-Why: because\r\n", answer)
        self.assertIn(b"Connection: close\r\n", answer)
        self.assertEqual(self.resource.requests, [])

    def test_no_continue(self) -> None:
        head = request("POST", "/forbidden", Expect="100-continue", Content_Length="5")
        self.assertNotIn(CONTINUE, self.wire.send(head))

    def test_closed_after_the_body(self) -> None:
        """A client that sends everything first finds the answer, and no second one."""
        head = request("POST", "/forbidden", Content_Length="50000")
        self.assertEqual(status(self.wire.send(head, b"x" * 49_999)), 403)
        self.assertFalse(self.wire.closed)
        self.assertEqual(self.wire.send(b"x" + request("GET", "/")), b"")
        self.assertTrue(self.wire.closed)
        self.assertEqual(self.resource.requests, [])

    def test_closed_after_so_many_bytes(self) -> None:
        for head, begun in (
            (request("POST", "/forbidden", Content_Length="90000000"), b""),
            (request("POST", "/forbidden", Transfer_Encoding="chunked"), b"5555555\r\n"),
        ):
            wire = Wire(self.site)
            rest = begun.ljust(MAX_DISCARDED_BYTES, b"x")
            self.assertEqual(status(wire.send(head + rest)), 403)
            self.assertFalse(wire.closed)
            self.assertEqual(wire.send(b"x"), b"")
            self.assertTrue(wire.closed)
            wire.close()

    def test_overhead_counts(self) -> None:
        """Chunks of one byte with long extensions are read no longer than others."""
        head = request("POST", "/forbidden", Transfer_Encoding="chunked")
        chunk = b"1;" + b"x" * 1_000 + b"\r\nx\r\n"
        self.wire.send(head, *[chunk] * 70)
        self.assertTrue(self.wire.closed)

    def test_bad_chunks(self) -> None:
        """One request has one answer, also where the rest of it is no HTTP."""
        head = request("POST", "/forbidden", Transfer_Encoding="chunked")
        self.assertEqual(status(self.wire.send(head)), 403)
        self.assertEqual(self.wire.send(b"no chunk\r\n"), b"")
        self.assertTrue(self.wire.closed)

    def test_aborted(self) -> None:
        """A client that does not let the connection be closed is cut off."""
        self.wire.send(request("POST", "/forbidden", Content_Length="9000000"), b"x" * 99_000)
        self.clock.advance(14)
        self.assertFalse(self.wire.aborted)
        self.clock.advance(1)
        self.assertTrue(self.wire.aborted)

    def test_http_1_0(self) -> None:
        answer = self.wire.send(b"GET /forbidden HTTP/1.0\r\n\r\n")
        self.assertEqual(status(answer), 403)
        self.assertTrue(self.wire.closed)

    def test_head(self) -> None:
        answer = self.wire.send(request("HEAD", "/forbidden"))
        self.assertEqual((status(answer), body_of(answer)), (403, b""))

    def test_bug_in_admission(self) -> None:
        answer = self.wire.send(request("POST", "/admission-bug", b"hello"))
        self.assertEqual((status(answer), body_of(answer)), (500, b"Internal Server Error"))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class BodyBoundTests(WebTests):
    """Bodies that are too large."""

    def test_said_in_the_head(self) -> None:
        head = request("POST", "/", Expect="100-continue", Content_Length="100001")
        self.assertEqual(status(self.wire.send(head)), 413)

    def test_chunked(self) -> None:
        """Refused when it is too large, not when it has ended."""
        head = request("POST", "/", Transfer_Encoding="chunked")
        self.assertEqual(self.wire.send(head, b"186a0\r\n", b"x" * 100_000, b"\r\n"), b"")
        self.assertEqual(status(self.wire.send(b"1\r\nx\r\n")), 413)
        self.wire.send(b"0\r\n\r\n")
        self.assertTrue(self.wire.closed)
        self.assertEqual(self.resource.requests, [])

    def test_largest(self) -> None:
        for body in (
            request("POST", "/", b"x" * 100_000),
            request("POST", "/", Transfer_Encoding="chunked") + chunks(b"x" * 100_000),
        ):
            self.assertEqual(len(body_of(self.wire.send(body))), 100_000)

    def test_absurd_length(self) -> None:
        answer = self.wire.send(request("POST", "/", Content_Length="9" * 5_000))
        self.assertEqual(status(answer), 400)
        self.assertTrue(self.wire.closed)


class ConnectionTests(WebTests):
    """How many connections there are, and how long."""

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

    def test_idle(self) -> None:
        self.clock.advance(59)
        self.assertFalse(self.wire.closed)
        self.clock.advance(1)
        self.assertTrue(self.wire.closed)

    def test_body_does_not_come(self) -> None:
        self.wire.send(request("POST", "/", Content_Length="5") + b"hell")
        self.clock.advance(60)
        self.assertTrue(self.wire.closed)

    def test_streaming_is_not_idle(self) -> None:
        self.wire.send(request("GET", "/stream"))
        self.clock.advance(100_000)
        self.assertFalse(self.wire.closed)
        self.resource.requests[0].finish()
        self.clock.advance(60)
        self.assertTrue(self.wire.closed)

    def test_no_clock_ticks(self) -> None:
        """Nothing runs for a site that nobody is connected to."""
        self.wire.close()
        self.site.doStart()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.site.doStop()


class HalfCloseTests(WebTests):
    """Clients that close their side as soon as they have asked (``nc -N``)."""

    def test_answer_that_comes_later(self) -> None:
        self.wire.send(request("GET", "/stream"))
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
        """The client may be gone: a stream would be kept open for nobody."""
        self.wire.send(request("GET", "/stream"))
        self.wire.close_side()
        self.clock.advance(HALF_CLOSED_S - 1)
        self.assertFalse(self.wire.aborted)
        self.clock.advance(1)
        self.assertTrue(self.wire.aborted)

    def test_reader_who_leaves(self) -> None:
        """Who closes after some time of streaming is gone, and costs nothing from then on."""
        self.wire.send(request("GET", "/stream"))
        self.clock.advance(HALF_CLOSED_S)
        self.wire.close_side()
        self.clock.advance(0)
        self.assertTrue(self.wire.aborted)

    def test_rest_that_never_comes(self) -> None:
        for begun in (b"", b"GET / HT", request("POST", "/", Content_Length="5") + b"hell"):
            wire = Wire(self.site)
            wire.send(begun)
            wire.close_side()
            self.assertTrue(wire.closed)
            self.assertEqual(wire.received(), b"")
            wire.close()
        self.assertEqual(self.resource.requests, [])

    def test_nothing_is_left(self) -> None:
        self.wire.send(request("GET", "/stream"))
        self.wire.close_side()
        self.wire.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class CloseTests(WebTests):
    """Shutdown."""

    def test_nobody_connected(self) -> None:
        self.wire.close()
        self.successResultOf(self.site.close())

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


class BugTests(WebTests):
    """A bug in a resource is logged, and the client is told nothing of it."""

    def test_before_the_answer(self) -> None:
        answer = self.wire.send(request("GET", "/bug"))
        self.assertEqual((status(answer), body_of(answer)), (500, b"Internal Server Error"))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_in_the_answer(self) -> None:
        """What has begun is not ended as if it were whole."""
        answer = self.wire.send(request("GET", "/late-bug"))
        self.assertEqual(status(answer), 200)
        self.assertFalse(answer.endswith(b"0\r\n\r\n"))
        self.assertNotIn(b"secret", answer)
        self.assertTrue(self.wire.closed)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
