# SPDX-License-Identifier: Apache-2.0

"""
Receivers that keep what drains send them: one for HTTP with scripted answers, one for TCP.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import h11
from attrs import frozen
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from tests.integration.process import PATIENCE_S, reactor, within


def octet_frames(body: bytes) -> tuple[list[bytes], bytes]:
    """
    Cut octet-counted frames (RFC 6587 §3.4.1).

    :return: the whole frames, and what remains: the beginning of one more, or nothing.
    """
    frames = []
    start = 0
    while (space := body.find(b" ", start)) >= 0:
        end = space + 1 + int(body[start:space])
        if end > len(body):
            break
        frames.append(body[space + 1 : end])
        start = end
    return frames, body[start:]


@frozen
class Answer:
    """
    The reaction of a receiver to a request.

    :ivar raw: what it writes; nothing: it stays silent.
    :ivar delay_s: how long it waits before.
    :ivar close: whether it closes the connection after.
    :ivar keeps: whether it keeps the request's frames as delivered.
    """

    raw: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    delay_s: float = 0.0
    close: bool = False
    keeps: bool = True


def refusal(status: int, **headers: str) -> Answer:
    """An answer that is no success. Underscores in a header's name stand for hyphens."""
    fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return Answer(
        b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n%b\r\n" % (status, fields.encode()), keeps=False
    )


@frozen
class Delivery:
    """A request of a drain: its target, its headers by lower-case name, and its frames."""

    target: str
    headers: dict[str, str]
    frames: list[bytes]


class _Receiver:
    """
    A port that can go down and come up again, and the frames that came.

    :ivar frames: those that were accepted, in the order in which they came.
    """

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.connections: set[Protocol] = set()
        self.connects = 0
        self._waiting: list[tuple[int, Deferred[None]]] = []
        self._socket = _bound_socket(0)
        self.port: int = self._socket.getsockname()[1]
        self._listening: IListeningPort | None = None

    def up(self) -> None:
        """Listen."""
        self._socket.listen(1_024)
        factory = Factory.forProtocol(self.protocol)
        self._listening = reactor.adoptStreamPort(self._socket.fileno(), socket.AF_INET, factory)

    async def down(self) -> None:
        """
        Close every connection and refuse new ones. The port stays ours: nobody else can take it,
        and no connecting socket can meet itself on it.
        """
        if self._listening:
            await maybeDeferred(self._listening.stopListening)
            self._listening = None
        self._socket.close()
        self._socket = _bound_socket(self.port)
        for connection in list(self.connections):
            connection.transport.abortConnection()  # type: ignore[union-attr]

    async def close(self) -> None:
        """Release everything."""
        await self.down()
        self._socket.close()

    def keep(self, frames: list[bytes]) -> None:
        """Keep frames, and wake the tests that wait for them."""
        self.frames += frames
        ready = [waiting for waiting in self._waiting if waiting[0] <= len(self.frames)]
        for waiting in ready:
            self._waiting.remove(waiting)
            waiting[1].callback(None)

    async def received(self, count: int, seconds: float = PATIENCE_S) -> list[bytes]:
        """Return all frames, as soon as this number has arrived."""
        waiting: Deferred[None] = Deferred()
        self._waiting.append((count, waiting))
        self.keep([])
        try:
            await within(waiting, f"{count} frames", seconds)
        except Exception as error:
            error.add_note(f"{len(self.frames)} frames are there")
            raise
        return self.frames

    def protocol(self) -> Protocol:
        raise NotImplementedError


class _Connection(Protocol):
    def __init__(self, receiver: _Receiver) -> None:
        self._receiver = receiver

    def connectionMade(self) -> None:
        self._receiver.connections.add(self)
        self._receiver.connects += 1

    def connectionLost(self, reason: Failure | None = None) -> None:
        self._receiver.connections.discard(self)


class HttpReceiver(_Receiver):
    """
    An HTTP server that answers as it is told.

    :ivar script: gives the answer to each request; in the beginning 200 to everything.
    :ivar deliveries: every request, whatever the answer was.
    """

    def __init__(self) -> None:
        super().__init__()
        self.deliveries: list[Delivery] = []
        self.script: Callable[[Delivery], Answer] = lambda _: Answer()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/logs"

    def protocol(self) -> Protocol:
        return _HttpConnection(self)


class _HttpConnection(_Connection):
    """One connection: requests are read by h11, answers are written as they are."""

    _receiver: HttpReceiver

    def __init__(self, receiver: HttpReceiver) -> None:
        super().__init__(receiver)
        self._parser = h11.Connection(h11.SERVER)
        self._request: h11.Request | None = None
        self._body = b""

    def dataReceived(self, data: bytes) -> None:
        self._parser.receive_data(data)
        while True:
            event = self._parser.next_event()
            if isinstance(event, h11.Request):
                self._request, self._body = event, b""
            elif isinstance(event, h11.Data):
                self._body += event.data
            elif isinstance(event, h11.EndOfMessage):
                self._answer(self._delivery())
                rest = self._parser.trailing_data[0]
                self._parser = h11.Connection(h11.SERVER)
                if rest:  # nothing would mean the end of the connection
                    self._parser.receive_data(rest)
            else:
                return

    def _delivery(self) -> Delivery:
        assert self._request is not None
        headers = {name.decode(): value.decode() for name, value in self._request.headers}
        frames, rest = octet_frames(self._body)
        assert rest == b"", rest
        assert headers["content-type"] == "application/logplex-1", headers
        assert headers["logplex-msg-count"] == str(len(frames)), headers
        return Delivery(self._request.target.decode(), headers, frames)

    def _answer(self, delivery: Delivery) -> None:
        self._receiver.deliveries.append(delivery)
        answer = self._receiver.script(delivery)
        if answer.delay_s:
            deferLater(reactor, answer.delay_s, self._write, answer, delivery)
        else:
            self._write(answer, delivery)

    def _write(self, answer: Answer, delivery: Delivery) -> None:
        transport: Any = self.transport
        transport.write(answer.raw)
        if answer.close:
            transport.loseConnection()
        if answer.keeps:
            self._receiver.keep(delivery.frames)


class TcpReceiver(_Receiver):
    """A syslog server over TCP for octet-counted frames."""

    @property
    def url(self) -> str:
        return f"syslog://127.0.0.1:{self.port}"

    def protocol(self) -> Protocol:
        return _TcpConnection(self)


class _TcpConnection(_Connection):
    def __init__(self, receiver: _Receiver) -> None:
        super().__init__(receiver)
        self._partial = b""

    def dataReceived(self, data: bytes) -> None:
        frames, self._partial = octet_frames(self._partial + data)
        self._receiver.keep(frames)


def _bound_socket(port: int) -> socket.socket:
    """A TCP socket on loopback that has a port, and does not listen yet."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    bound.setblocking(False)
    return bound
