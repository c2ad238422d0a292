# SPDX-License-Identifier: Apache-2.0

"""Reading what HTTP receivers answer: plain answers are read as h11 reads them."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from logplex.drains.kinds.http_answers import (
    EXCERPT_BYTES,
    Answer,
    AnswerReader,
    Unreadable,
    read_plain,
)

MOST_BYTES = 1_000

#: What receivers say, and what they might say; several may meet in one head.
HEADERS = [
    b"Content-Length: %d",
    b"content-length:%d",
    b"CONTENT-LENGTH:  %d  ",
    b"Content-Length: +%d",
    b"Content-Length: 0%d",
    b"Content-Length : %d",
    b"Content-Length: %d, %d",
    b"Content-Length:",
    b"Connection: keep-alive",
    b"Connection: Keep-Alive",
    b"Connection: close",
    b"Connection: keep-alive, close",
    b"Connection:",
    b"Transfer-Encoding: chunked",
    b"Retry-After: 7",
    b"Upgrade: websocket",
    b"Date: Sun, 22 Nov 2026 16:00:00 GMT",
    b"Server: nginx/1.24.0",
    b"X-Note: Content-Length: 5",
    b"X-Empty:",
    b"X-Tab:\ta\tb",
    b"X-Bytes: \xff",
    b"X-Control: \x07",
    b" folded",
    b"no colon",
    b"",
]

bodies = st.sampled_from([b"", b"ok", b"x" * EXCERPT_BYTES, b"x" * 999, b"x" * 1_001]) | st.binary(
    max_size=20
)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """Whole answers, and bytes that are nearly one."""
    version = draw(st.sampled_from([b"1.1", b"1.1", b"1.1", b"1.0", b"2"]))
    status = draw(
        st.sampled_from([b"200", b"201", b"204", b"205", b"100", b"304", b"404", b"2000"])
    )
    reason = draw(st.sampled_from([b" OK", b" ", b"", b" No Content", b" \xff", b" a\tb"]))
    body = draw(bodies)
    said = draw(st.sampled_from([len(body), len(body), len(body), len(body) + 1, 0]))
    headers = draw(st.lists(st.sampled_from(HEADERS), max_size=4))
    lines = [line.replace(b"%d", b"%d" % said) for line in headers]
    end = draw(st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n"]))
    return end.join([b"HTTP/%b %b%b" % (version, status, reason), *lines, b"", b""]) + body


def read(*pieces: bytes) -> tuple[Answer | str, bool]:
    """Return the answer that is read, and whether the connection can serve again."""
    reader = AnswerReader(MOST_BYTES)
    for piece in pieces:
        try:
            answer = reader.read(piece)
        except Unreadable:
            return "unreadable", False
        if answer is not None:
            return answer, reader.reusable
    return "unfinished", False


def byte_by_byte(octets: bytes) -> tuple[Answer | str, bool]:
    """The same, as h11 reads it: one byte is never plain."""
    return read(*[octets[at : at + 1] for at in range(len(octets))])


class ReadPlain(SynchronousTestCase):
    @given(answers())
    @example(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    @example(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok")
    @example(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok")
    @example(b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n")
    @settings(deadline=None, max_examples=500)
    def test_as_h11(self, octets: bytes) -> None:
        """The plain reader and h11 read the same from a plain answer."""
        plain = read_plain(octets, MOST_BYTES)
        if plain is not None:
            self.assertEqual(byte_by_byte(octets), (plain, True))

    def test_plain(self) -> None:
        """The usual answers are plain."""
        for octets, answer in (
            (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Answer(200, excerpt=b"ok")),
            (b"HTTP/1.1 204 No Content\r\n\r\n", Answer(204)),
            (
                b"HTTP/1.1 202 Accepted\r\nServer: nginx/1.24.0\r\ndate: Sun\r\n"
                b"content-length: 0\r\nConnection: keep-alive\r\n\r\n",
                Answer(202),
            ),
        ):
            self.assertEqual(read_plain(octets, MOST_BYTES), answer)

    def test_not_plain(self) -> None:
        """Answers that may end the connection, and parts of answers, are left to h11."""
        for octets in (
            b"",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1",
            b"HTTP/1.1 200 OK\r\n\r\nok",
            b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n" + b"x" * 1_001,
            b"HTTP/1.1 200 OK\r\nContent-Length: 00000000005\r\n\r\n",
        ):
            self.assertIsNone(read_plain(octets, MOST_BYTES), octets)


class Read(SynchronousTestCase):
    @given(answers())
    @settings(deadline=None)
    def test_in_one_piece(self, octets: bytes) -> None:
        """In how many pieces an answer comes makes no difference."""
        self.assertEqual(read(octets)[0], byte_by_byte(octets)[0])

    def test_so_far(self) -> None:
        """An answer that breaks off has its status and the beginning of its body."""
        reader = AnswerReader(MOST_BYTES)
        self.assertIsNone(reader.so_far())
        reader.read(b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 100\r\n\r\nsor")
        self.assertEqual(reader.so_far(), Answer(503, b"7", excerpt=b"sor"))

    def test_a_length_with_leading_zeros(self) -> None:
        reader = AnswerReader(MOST_BYTES)
        self.assertIsNone(reader.read(b"HTTP/1.1 200 OK\r\nContent-Length: 00000000005\r\n\r\n"))
        self.assertEqual(reader.read(b"hello"), Answer(200, excerpt=b"hello"))

    def test_words_before_the_answer(self) -> None:
        """A few of them; a receiver that says nothing else would cost a core."""
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        word = b"HTTP/1.1 102 Processing\r\n\r\n"
        self.assertEqual(read(word * 20 + answer)[0], Answer(200, excerpt=b"ok"))
        self.assertEqual(read(word * 21 + answer)[0], "unreadable")

    def test_long_body(self) -> None:
        """A body that is too long is not read to its end; the beginning is kept."""
        reader = AnswerReader(MOST_BYTES)
        reader.read(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        self.assertRaises(Unreadable, reader.read, b"x" * 1_001)
        self.assertEqual(reader.so_far(), Answer(200, excerpt=b"x" * EXCERPT_BYTES))

    def test_end_of_the_connection(self) -> None:
        """It ends an answer without a length, and breaks off any other."""
        head = b"HTTP/1.1 200 OK\r\n"
        self.assertEqual(read(head + b"\r\nok", b"")[0], Answer(200, excerpt=b"ok"))
        self.assertEqual(read(head + b"Content-Length: 2\r\n\r\n", b"")[0], "unreadable")
        self.assertEqual(read(b"")[0], "unreadable")
