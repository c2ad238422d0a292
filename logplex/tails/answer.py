"""
An answer that stays open: its length is not known, and its connection closes at its end.
"""

from __future__ import annotations

import socket
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.server import Request

from logplex.tails.group import Reader

#: A reader who is told that this was the end has so long to take it; then Twisted's
#: ``HTTPChannel`` closes, and cuts the connection after its own ``abortTimeout``.
END_TIMEOUT_S = 30

_HISTORY_IS_AWAY = b"Warning: log history temporarily unavailable."

#: A reader's host that says nothing is asked for a sign of life after 60 s, then every 15 s, and
#: given up after the fourth time. Left alone, the system would wait two hours.
_KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
)


@define(eq=False, repr=False)
class HttpAnswer:
    """
    See :class:`logplex.tails.group.Answer`: chunked for HTTP/1.1, until the end of the connection
    for HTTP/1.0, the head alone for HEAD. Never compressed.

    :param request: has just been received.
    :ivar headers: beside those that every such answer has.
    :ivar reader: is told when the client leaves.
    :ivar is_lost: the client has left.
    :ivar has_started: the head has been written.
    """

    request: Request
    headers: dict[bytes, bytes] = field(factory=dict)
    reader: Reader | None = None
    is_lost: bool = False
    has_started: bool = False
    _channel: HTTPChannel = field(init=False)
    _transport: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._channel = self.request.channel
        self._transport = self._channel.transport
        self.request.notifyFinish().addErrback(self._connection_lost)

    def history_is_away(self) -> None:
        """See :class:`logplex.tails.group.Answer`."""
        self.headers.setdefault(b"X-Heroku-Warning", _HISTORY_IS_AWAY)

    def start(self, producer: IPushProducer) -> None:
        """See :class:`logplex.tails.group.Answer`."""
        self._start()
        self.request.registerProducer(producer, True)
        # Nothing yet, but the head goes out.
        self.request.write(b"")

    def write(self, text: bytes) -> None:
        """See :class:`logplex.tails.group.Answer`."""
        self.request.write(text)

    def finish(self) -> None:
        """See :class:`logplex.tails.group.Answer`."""
        self.request.unregisterProducer()
        self.request.finish()
        if not self.is_closed:
            self._channel.setTimeout(END_TIMEOUT_S)

    def abort(self) -> None:
        """See :class:`logplex.tails.group.Answer`."""
        self._transport.abortConnection()

    @property
    def is_closed(self) -> bool:
        """See :class:`logplex.tails.group.Answer`."""
        return self.is_lost or not self._transport.connected

    def head(self) -> None:
        """The whole answer to a HEAD."""
        self._start()
        self.request.finish()

    def refuse(self, status: int, text: str) -> None:
        """The whole answer where there is nothing to show; nobody gets it where nobody is."""
        if not self.is_lost:
            body = text.encode()
            self.request.setResponseCode(status)
            self.request.setHeader(b"Content-Type", b"text/html")
            self.request.setHeader(b"Content-Length", b"%d" % len(body))
            self.request.write(body)
            self.request.finish()

    def _start(self) -> None:
        self.has_started = True
        for name, value in self.headers.items():
            self.request.setHeader(name, value)
        # Strangers write what stands in this answer, and its URL is a secret.
        self.request.setHeader(b"X-Content-Type-Options", b"nosniff")
        self.request.setHeader(b"Content-Security-Policy", b"sandbox; default-src 'none'")
        self.request.setHeader(b"Cache-Control", b"no-store")
        self.request.setHeader(b"Connection", b"close")
        self._channel.persistent = False
        _watch(self._transport)

    def _connection_lost(self, reason: Failure) -> None:
        self.is_lost = True
        if self.reader is not None:
            self.reader.lost()


def _watch(transport: object) -> None:
    """Let the kernel notice a reader whose host is gone without a word."""
    handle = getattr(transport, "getHandle", lambda: None)()
    if isinstance(handle, socket.socket):
        for level, option, value in _KEEPALIVE:
            handle.setsockopt(level, option, value)
