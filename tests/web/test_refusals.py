# SPDX-License-Identifier: Apache-2.0

"""Refusals before the body, late ones, and bodies that are too large."""

from __future__ import annotations

from logplex.web import MAX_DISCARDED_BYTES
from tests.doubles.web import CONTINUE, WebTests
from tests.doubles.wire import Wire, body_of, chunks, request, status


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
        """One request has one answer, also if the rest of it is not HTTP."""
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
        """The body comes before the answer, after it, or never whole."""
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
        """A client that does not stop sending gets no answer."""
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

    def test_ambiguous(self) -> None:
        """Headers that two readers could read differently are refused (RFC 9112 §3.2, §6.1)."""
        for head in (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
            b"Transfer-Encoding: identity\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic eDp5\r\n"
            b"Authorization: Basic eDp6\r\n\r\n",
        ):
            wire = Wire(self.site)
            self.assertEqual(status(wire.send(head)), 400)
            wire.close()
        self.assertEqual(self.resource.requests, [])
