# SPDX-License-Identifier: Apache-2.0

"""Requests that are answered, and what no answer tells."""

from __future__ import annotations

from io import BytesIO

from tests.doubles.web import CONTINUE, WebTests
from tests.doubles.wire import body_of, chunks, request, status


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
        """Requests follow each other, also after a refused request without a body."""
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
        """Headers that the admission sets are on every answer."""
        for path in ("/", "/forbidden", "/bug"):
            self.assertIn(b"Request-Id: 7\r\n", self.wire.send(request("GET", path)))
        self.flushLoggedErrors(RuntimeError)

    def test_no_http_2(self) -> None:
        self.assertEqual(self.site.acceptableProtocols(), [b"http/1.1"])


class TargetTests(WebTests):
    """The target of a request, as a path or as a whole URL."""

    def asked(self, target: str) -> tuple[bytes, bytes, str | None]:
        """Path, target and host as the resource sees them."""
        self.assertEqual(status(self.wire.send(request("GET", target))), 200)
        seen = self.resource.requests[-1]
        return seen.path, seen.uri, seen.getHeader("Host")

    def test_path(self) -> None:
        self.assertEqual(self.asked("/a?b=//c"), (b"/a", b"/a?b=//c", "localhost"))

    def test_url(self) -> None:
        """The host that it names takes the place of the header's (RFC 9112 §3.2.2)."""
        for url, path, target, host in (
            ("http://h/a", b"/a", b"/a", "h"),
            ("HTTPS://h:8002/a/b?c=d", b"/a/b", b"/a/b?c=d", "h:8002"),
            ("http://[::1]:1//a", b"//a", b"//a", "[::1]:1"),
            ("http://h", b"/", b"/", "h"),
            ("http://h?a", b"/", b"/?a", "h"),
            ("http://h/http://x/a", b"/http://x/a", b"/http://x/a", "h"),
        ):
            self.assertEqual(self.asked(url), (path, target, host))

    def test_no_url(self) -> None:
        """A malformed URL is not a path: the resource answers that it is unknown."""
        for target in ("ftp://h/a", "http:/h/a", "http:///a", "h:1"):
            self.assertEqual(self.asked(target), (target.encode(),) * 2 + ("localhost",))

    def test_judged_by_its_path(self) -> None:
        self.assertEqual(status(self.wire.send(request("GET", "http://h/forbidden"))), 403)


class BugTests(WebTests):
    """A bug in a resource is logged, and the client is told nothing of it."""

    def test_before_the_answer(self) -> None:
        answer = self.wire.send(request("GET", "/bug"))
        self.assertEqual((status(answer), body_of(answer)), (500, b"Internal Server Error"))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_in_the_answer(self) -> None:
        """An answer that has begun does not end as if it were whole."""
        answer = self.wire.send(request("GET", "/late-bug"))
        self.assertEqual(status(answer), 200)
        self.assertFalse(answer.endswith(b"0\r\n\r\n"))
        self.assertNotIn(b"secret", answer)
        self.assertTrue(self.wire.closed)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
