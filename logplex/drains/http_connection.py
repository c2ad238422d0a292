"""
One connection to an HTTP receiver: a request at a time, and what was answered.

Requests are bytes that the courier has made; answers are parsed by h11.
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Protocol as Contract

import h11
from attrs import define, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from logplex.drains.reasons import explain
from logplex.drains.stream import StreamConnection

#: So much of an answer's body is kept, for people.
EXCERPT_BYTES = 200

# What h11 needs to know of a request so that it can parse the answer.
_A_POST = h11.Request(method="POST", target="/", headers=[("Host", ""), ("Content-Length", "0")])
_ITS_END = h11.EndOfMessage()


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


class Exchanges(Contract):
    """Who makes the requests: the courier."""

    def send(self, connection: HttpConnection) -> None:
        """The connection is free: make a request on it, or report that there is none."""

    def answered(self, answer: Answer, reusable: bool) -> None:
        """The receiver has answered; ``reusable``: the connection is free again."""

    def unanswered(self, why: str, excusable: bool) -> None:
        """
        There will be no answer; the connection is gone.

        :param excusable: the connection had served before, and was lost without a byte: the
            receiver most likely closed it, unused, before it saw the request.
        """

    def left(self) -> None:
        """The connection is gone; no request was waiting for an answer."""


@define
class Limits:
    """For every answer: how long it may take, and how many bytes of its body are read."""

    answer_timeout_s: float
    answer_bytes: int


class HttpConnection(StreamConnection):
    """See :class:`~logplex.drains.courier.Connection`."""

    def __init__(
        self, exchanges: Exchanges, limits: Limits, clock: IReactorTime, tls: bool
    ) -> None:
        super().__init__(clock, tls)
        self._exchanges = exchanges
        self._limits = limits
        self._parser: h11.Connection | None = None
        self._response: h11.Response | None = None
        self._excerpt = b""
        self._body_bytes = 0
        self._served = False
        self._heard = False

    # What the drain's life asks.

    def send(self) -> None:
        """See :meth:`Connection.send`."""
        self._exchanges.send(self)

    def end(self) -> None:
        super().end()
        self._parser = None

    # What the courier asks.

    def request(self, octets: bytes) -> None:
        """Send one whole request; :class:`Exchanges` is told once what became of it."""
        self._parser = h11.Connection(h11.CLIENT)
        self._parser.send(_A_POST)
        self._parser.send(_ITS_END)
        self._response = None
        self._excerpt = b""
        self._body_bytes = 0
        self._heard = False
        self.timer = self.clock.callLater(self._limits.answer_timeout_s, self._timed_out)
        assert self.transport is not None
        self.transport.write(octets)

    # What Twisted calls.

    def dataReceived(self, data: bytes) -> None:
        if self.ended:
            return
        if self._parser is None:
            # Nobody asked; what would come next could be taken for an answer.
            self.abort()
            self._exchanges.left()
            return
        self._heard = True
        self._read(data, "the answer is not HTTP/1.1")

    def lost(self, reason: Failure) -> None:
        if self._parser is None:
            self.end()
            self._exchanges.left()
        else:
            # The end of the connection may be the end of an answer without length.
            self._read(b"", f"the connection was lost: {explain(reason)}")

    # How it is done.

    def _read(self, data: bytes, otherwise: str) -> None:
        """:param otherwise: what is wrong where this is not (the next part of) an answer."""
        parser = self._parser
        assert parser is not None
        try:
            parser.receive_data(data)
            while self._parser is not None:
                event = parser.next_event()
                if event is h11.NEED_DATA:
                    return
                if isinstance(event, h11.Response):
                    self._response = event
                elif isinstance(event, h11.Data):
                    self._take_body(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage):
                    states = (parser.our_state, parser.their_state)
                    reusable = states == (h11.DONE, h11.DONE) and not parser.trailing_data[0]
                    self._settle(reusable and self.transport is not None)
                elif not isinstance(event, h11.InformationalResponse):
                    self._break(otherwise)
        except h11.RemoteProtocolError:
            self._break(otherwise)

    def _take_body(self, data: bytes) -> None:
        self._excerpt += data[: EXCERPT_BYTES - len(self._excerpt)]
        self._body_bytes += len(data)
        if self._body_bytes > self._limits.answer_bytes:
            self.abort()
            self._settle(reusable=False)

    def _timed_out(self) -> None:
        self.timer = None
        self._heard = True  # It is there: it has been silent, and nothing excuses that.
        self._break(f"no whole answer within {self._limits.answer_timeout_s:g} s")

    def _break(self, why: str) -> None:
        """The exchange ends early. The status decides, where it has come."""
        self.abort()
        if self._response is not None:
            self._settle(reusable=False)
        else:
            self._exchanges.unanswered(why, excusable=self._served and not self._heard)

    def _settle(self, reusable: bool) -> None:
        response = self._response
        assert response is not None
        self.stop_timer()
        self._parser = None
        self._served = True
        if not reusable:
            self.close()
        retry_after = next((v for name, v in response.headers if name == b"retry-after"), None)
        self._exchanges.answered(Answer(response.status_code, retry_after, self._excerpt), reusable)


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
