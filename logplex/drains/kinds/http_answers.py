"""
What HTTP receivers answer: bytes in, values out.

h11 reads every answer but the plainest, which nearly all are.
"""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime

import h11
from attrs import frozen

#: So much of an answer's body is kept, for people.
EXCERPT_BYTES = 200
#: A ``Content-Length`` with more digits is no plain one.
_LENGTH_DIGITS = 10
#: So many answers of 1xx may come before the real one.
_MOST_INTERIM = 20

# What h11 needs to know of a request so that it can parse the answer.
_A_POST = h11.Request(method="POST", target="/", headers=[("Host", ""), ("Content-Length", "0")])
_ITS_END = h11.EndOfMessage()

_PLAIN_HEAD = re.compile(
    rb"HTTP/1\.1 (2[0-9]{2}) [ -~]*\r\n((?:[A-Za-z0-9_-]+:[ -~]*\r\n)*)\r\n",
)
# The headers that say something to us, or to h11.
_TELLING = re.compile(
    rb"(?im)^(content-length|connection|transfer-encoding|upgrade|retry-after): *(.*?) *\r$"
)
_NO_CONTENT = 204


class Unreadable(Exception):
    """Nothing more can be read of an answer: it is not HTTP/1.1, too long, or broken off."""


@frozen
class Answer:
    """
    The final answer to a request.

    :ivar retry_after: the header's value, as it came.
    :ivar excerpt: the beginning of the body.
    """

    status: int
    retry_after: bytes | None = None
    excerpt: bytes = b""


class AnswerReader:
    """
    Reads the answer to one request.

    :param body_bytes: longer bodies are not read.
    :ivar heard: whether something has come.
    :ivar reusable: whether the connection can serve again, once the answer is whole.
    """

    def __init__(self, body_bytes: int) -> None:
        self.heard = False
        self.reusable = False
        self._most_bytes = body_bytes
        self._parser: h11.Connection | None = None
        self._response: h11.Response | None = None
        self._excerpt = b""
        self._body_bytes = 0
        self._interim = 0

    def read(self, data: bytes) -> Answer | None:
        """
        Take what has come; nothing, where the connection has ended.

        :return: the answer, as soon as it is whole.
        :raises Unreadable: it will never be.
        """
        self.heard = self.heard or bool(data)
        if self._parser is None:
            plain = read_plain(data, self._most_bytes)
            if plain is not None:
                self.reusable = True
                return plain
            self._parser = h11.Connection(h11.CLIENT)
            self._parser.send(_A_POST)
            self._parser.send(_ITS_END)
        try:
            return self._parse(self._parser, data)
        except h11.RemoteProtocolError:
            raise Unreadable from None

    def so_far(self) -> Answer | None:
        """The answer without what is missing of its body; none, where its head is missing too."""
        response = self._response
        if response is None:
            return None
        retry_after = next((v for name, v in response.headers if name == b"retry-after"), None)
        return Answer(response.status_code, retry_after, self._excerpt)

    def _parse(self, parser: h11.Connection, data: bytes) -> Answer | None:
        parser.receive_data(data)
        while (event := parser.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.Response):
                self._response = event
            elif isinstance(event, h11.Data):
                self._take_body(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                states = (parser.our_state, parser.their_state)
                self.reusable = states == (h11.DONE, h11.DONE) and not parser.trailing_data[0]
                return self.so_far()
            elif isinstance(event, h11.InformationalResponse) and self._room_for_word():
                continue
            else:
                raise Unreadable
        return None

    def _room_for_word(self) -> bool:
        self._interim += 1
        return self._interim <= _MOST_INTERIM

    def _take_body(self, data: bytes) -> None:
        self._excerpt += data[: EXCERPT_BYTES - len(self._excerpt)]
        self._body_bytes += len(data)
        if self._body_bytes > self._most_bytes:
            raise Unreadable


def read_plain(data: bytes, most_bytes: int) -> Answer | None:
    """
    Read an answer of which h11 would say the same, in a tenth of the time: it came in one piece,
    says success, tells its length (or has none to tell), and leaves the connection open.

    :param most_bytes: of its body.
    :return: nothing where it is not so plain; that says nothing about the answer.
    """
    head = _PLAIN_HEAD.match(data)
    if head is None:
        return None
    status = int(head[1])
    length = None
    for name, value in _TELLING.findall(head[2]):
        if name.lower() == b"content-length" and length is None and value.isdigit():
            if len(value) > _LENGTH_DIGITS:
                return None
            length = int(value)
        elif name.lower() != b"connection" or value.lower() != b"keep-alive":
            return None
    if status == _NO_CONTENT and length is None:
        length = 0
    body = data[head.end() :]
    if length != len(body) or length > most_bytes or (body and status == _NO_CONTENT):
        return None
    return Answer(status, excerpt=body[:EXCERPT_BYTES])


def retry_after_s(value: bytes | None, now: float) -> float:
    """
    How long the receiver asks to be left alone (RFC 9110 §10.2.3): seconds, or an HTTP date.

    :return: 0 where it does not ask, or cannot be understood.
    """
    text = (value or b"").decode("ascii", "replace").strip()
    if text.isdecimal() and text.isascii():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return 0.0
