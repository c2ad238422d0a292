# SPDX-License-Identifier: Apache-2.0

"""
A client's connection to a site, the requests on the connection, and the refusals of requests.
"""

from __future__ import annotations

import re
from io import BytesIO
from typing import Any, Protocol, cast

from attrs import frozen
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http, server
from zope.interface import implementer

_log = Logger()
_ABSOLUTE = re.compile(rb"https?://([^/?#]+)((?:[/?].*)?)", re.IGNORECASE | re.DOTALL)

#: At most this much of a refused request's body is read and thrown away, because some clients look
#: for the answer only after they have sent everything; then the connection is closed.
MAX_DISCARDED_BYTES = 65_536

#: A client that closes its side of the connection may be gone, or may only have nothing more to
#: request (``nc -N``). It gets an answer within this many seconds after its request, or none.
HALF_CLOSED_S = 15.0
#: An answer that has begun gets this long to be sent: a tail could go on for ever without a reader.
HALF_CLOSED_ANSWER_S = 2.0


@frozen
class Refusal:
    """
    An answer that refuses a request as soon as the head of the request has been read.

    :ivar headers: additional headers of the answer. ``Content-Length`` is set from the body.
    :ivar delay_s: the seconds to wait before the answer; little of the body is read during this
        time.
    :ivar reason: the cause in one word, for counters.
    """

    status: int
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    delay_s: float = 0.0
    reason: str = ""


def plain_refusal(
    status: int, text: str, *headers: tuple[bytes, bytes], reason: str = ""
) -> Refusal:
    """Return a refusal that gives its reason in one line of plain text."""
    content_type = (b"Content-Type", b"text/plain; charset=utf-8")
    return Refusal(status, (content_type, *headers), text.encode(), reason=reason)


TOO_LARGE = plain_refusal(413, "Request body too large", reason="body_too_large")
BUSY = plain_refusal(
    503, "Too many bodies are waiting", (b"Retry-After", b"1"), reason="bodies_waiting"
)
AMBIGUOUS = plain_refusal(400, "A header that may come once came twice", reason="headers")
SERVER_ERROR = plain_refusal(500, "Internal Server Error", reason="bug")


class _Bounds(Protocol):
    """The bounds that a site sets for its connections."""

    @property
    def body_bytes(self) -> int:
        """The maximum size of a body. A larger body is refused."""

    @property
    def body_bytes_per_s(self) -> float:
        """The minimum rate of a body. The connection of a slower body is closed."""


class _Site(Protocol):
    """The interface of a site that its connections use."""

    too_large: Refusal
    reactor: IReactorTime

    def connected(self, connection: Connection) -> bool:
        """Count a new connection. Return false if there is no room for the connection."""

    def disconnected(self, connection: Connection) -> None:
        """Forget a connection that has ended."""

    def judge(self, request: Request, length: int | None) -> Refusal | None:
        """Return a refusal of a request, given its head; ``None`` to accept the request."""

    def reading_s(self, size: int) -> float:
        """Return the seconds that a client gets to read an answer of this size."""

    def bounds(self) -> _Bounds:
        """Return the present bounds."""

    def hold(self, address: str, size: int) -> bool:
        """Reserve memory for a part of a body. Return false if there is no memory left."""

    def release(self, address: str, size: int) -> None:
        """Release the memory of a part of a body."""

    def refused(self, request: Request, refusal: Refusal) -> None:
        """Count a refused request."""

    def wrong_protocol(self, connection: Connection, protocol: str) -> None:
        """Count a connection that speaks another protocol than HTTP."""


def other_protocol(beginning: bytes, before: bytes = b"") -> str | None:
    """
    Return the name of the protocol if a connection does not begin like HTTP/1.1; else ``None``.

    :param beginning: bytes of the first line.
    :param before: the byte before ``beginning``; empty at the start of the connection.
    """
    if not before:
        if beginning.startswith(b"\x16"):
            return "tls"
        if beginning[:1] in b"<123456789":
            return "syslog"
        if not (beginning[:1].isalpha() or beginning[:1] in b"\r\n"):
            return "other"
    end = beginning.find(b"\n")
    if end >= 0 and (before + beginning)[: len(before) + end][-1:] != b"\r":
        return "line_feeds"
    return None


def origin_form(target: bytes) -> tuple[bytes, bytes | None]:
    """
    Return the path and query of a request's target, and the host if the target is a whole URL.

    Clients send whole URLs to proxies, and servers must understand them too (RFC 9112 §3.2.2).
    """
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        return target, None
    host, rest = absolute.groups()
    return rest if rest.startswith(b"/") else b"/" + rest, host


class Request(server.Request):
    """An HTTP request. Its body is kept in memory, up to the site's bound."""

    defaultContentType = b"text/plain; charset=utf-8"
    channel: Connection
    content: BytesIO
    _refused = False
    # Of a refused request: it has arrived completely; its answer is written.
    _received = False
    _answered = False
    # The bytes of the body for which the site has been asked.
    _held_bytes = 0

    def begin(self, method: bytes, uri: bytes, version: bytes) -> None:
        """Set method, path and version before the body arrives, so that ``admit`` can read them."""
        self.method, self.uri, self.clientproto = method, uri, version
        self.path = uri.partition(b"?")[0]

    def refuse(self, refusal: Refusal) -> None:
        """Write a refusal as the whole answer, after its delay. Ignore the rest of the body."""
        self._refused = True
        self.content = BytesIO()
        self._release()
        self.channel.site.refused(self, refusal)
        if refusal.delay_s:
            answering = self.channel.callLater(refusal.delay_s, lambda: self._answer(refusal))
            self.notifyFinish().addErrback(lambda _: answering.active() and answering.cancel())
        else:
            self._answer(refusal)

    def _answer(self, refusal: Refusal) -> None:
        self._answered = True
        self.setResponseCode(refusal.status)
        self.setHeader(b"Date", http.datetimeToString())
        for name, value in refusal.headers:
            self.setHeader(name, value)
        self.setHeader(b"Content-Length", b"%d" % len(refusal.body))
        self.write(refusal.body)
        if self._received:
            self.finish()

    @property
    def address(self) -> str:
        """The client's address. A load balancer before the node must name this address."""
        return str(getattr(self.getClientAddress(), "host", "")) or "-"

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        if self._refused:
            return
        site = self.channel.site
        if self.content.tell() + len(data) > site.bounds().body_bytes:
            self.channel.refuse(self, site.too_large)
        elif not site.hold(self.channel.address, len(data)):
            self.channel.refuse(self, BUSY)
        else:
            self._held_bytes += len(data)
            self.content.write(data)

    def finish(self) -> None:
        self._release()
        super().finish()

    def connectionLost(self, reason: Failure) -> None:
        self._release()
        super().connectionLost(reason)

    def _release(self) -> None:
        if self._held_bytes:
            self.channel.site.release(self.channel.address, self._held_bytes)
            self._held_bytes = 0

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        if self._answered:
            self.finish()
        elif self._refused:
            self._received = True
        else:
            super().requestReceived(command, path, version)

    def answer(self, body: bytes) -> int:
        """Write the whole answer. Return the value that a resource must return to Twisted."""
        self.setHeader(b"Content-Length", b"%d" % len(body))
        self.write(body)
        self.finish()
        return server.NOT_DONE_YET

    def write(self, data: bytes) -> None:
        if not self.startedWriting:
            self.responseHeaders.removeHeader(b"Server")
        super().write(data)

    def processingFailed(self, reason: Failure) -> Failure:
        """Answer a request whose resource raised an unexpected exception. Log the details."""
        _log.failure("bug: a request cannot be answered", failure=reason)
        if self.startedWriting:
            # Closing is the only way to say that this is not the whole answer.
            self.loseConnection()
        elif not self._disconnected:
            self.responseHeaders.removeHeader(b"Content-Encoding")
            self.refuse(SERVER_ERROR)
            self.finish()
        return reason


@implementer(IHalfCloseableProtocol)
class Connection(http.HTTPChannel):
    """A client's connection. Methods with names in camel case override methods of Twisted."""

    site: _Site
    #: The address of the client when it came.
    address = ""
    discard_bytes: int | None = None
    #: The last byte before the next ones of the first line; ``None`` after that line.
    _before: bytes | None = b""
    #: The time at which the present request had arrived completely.
    received_at = 0.0
    # True from the first byte of a head to its end. Bytes of a head give it no more time.
    _in_head = False
    # Of a body that is arriving: the time at which it began, and the bytes that have come.
    _body_began_at: float | None = None
    _body_bytes = 0
    #: Closes the connection of a client that has closed its side.
    cutting_off: IDelayedCall | None = None

    def connectionMade(self) -> None:
        super().connectionMade()
        if not self.site.connected(self):
            self.close()

    def dataReceived(self, data: bytes) -> None:
        if self._before is not None:
            protocol = other_protocol(data, self._before)
            if protocol is not None:
                self.site.wrong_protocol(self, protocol)
                self.close()
                return
            self._before = None if b"\n" in data else data[-1:]
        self._body_bytes += len(data)
        super().dataReceived(data)

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        super().connectionLost(reason)
        self.site.disconnected(self)
        if self.cutting_off is not None and self.cutting_off.active():
            self.cutting_off.cancel()

    def readConnectionLost(self) -> None:
        """
        Close the connection after a bound, because the client has ended its sending direction. A
        present request is answered first: the client may still read.
        """
        if not self._handlingRequest:
            self.close()
        elif self.cutting_off is None and self.requests[0].startedWriting:
            self.cutting_off = self.callLater(HALF_CLOSED_ANSWER_S, self.close)
        elif self.cutting_off is None:
            rest = self.received_at + HALF_CLOSED_S - self.site.reactor.seconds()
            self.cutting_off = self.callLater(max(0.0, rest), self.abort)

    def writeConnectionLost(self) -> None:
        """Do nothing: the node never closes only its sending direction."""

    def resetTimeout(self) -> None:
        """Give a client more time for a new head, or for a body that arrives fast enough."""
        if self._body_began_at is not None:
            elapsed_s = self.site.reactor.seconds() - self._body_began_at
            is_due = self._body_bytes >= self.site.bounds().body_bytes_per_s * elapsed_s
        else:
            is_due = not self._in_head
            self._in_head = True
        if is_due:
            super().resetTimeout()

    def allContentReceived(self) -> None:
        self._in_head = False
        self._body_began_at = None
        self.received_at = self.site.reactor.seconds()
        super().allContentReceived()

    def requestDone(self, request: http.Request) -> None:
        if not self.persistent:
            self.setTimeout(self.site.reading_s(request.sentLength))
        super().requestDone(request)
        if self.cutting_off is not None and not self._handlingRequest:
            self.close()

    def headerReceived(self, line: bytes) -> bool:
        try:
            received: bool = super().headerReceived(line)
        except ValueError:
            # int() takes no more than 4,300 digits of a Content-Length.
            self._respondToBadRequestAndDisconnect()
            return False
        return received

    def allHeadersReceived(self) -> None:
        request = self.requests[-1]
        self._path, host = origin_form(self._path)
        if host is not None:
            # The host of the target replaces the header's.
            request.requestHeaders.setRawHeaders(b"Host", [host])
        request.begin(self._command, self._path, self._version)
        self._in_head = False
        self._body_began_at = self.site.reactor.seconds()
        self._body_bytes = 0
        super().resetTimeout()
        refusal = self.site.judge(request, self.length)
        if refusal is None:
            # Keeps the connection if the client wishes so; answers "Expect: 100-continue".
            super().allHeadersReceived()
        elif self.length == 0:
            self.persistent = self.checkPersistence(request, self._version)
            request.refuse(refusal)
        else:
            self.refuse(request, refusal)

    def refuse(self, request: Request, refusal: Refusal) -> None:
        """Refuse a request before its whole body has arrived."""
        self.persistent = False
        self.discard_bytes = MAX_DISCARDED_BYTES
        request.setHeader(b"Connection", b"close")
        request.refuse(refusal)

    def rawDataReceived(self, data: bytes) -> None:
        if self.discard_bytes is not None:
            self.discard_bytes -= len(data)
            if self.discard_bytes < 0:
                self.close()
                return
        super().rawDataReceived(data)

    def _respondToBadRequestAndDisconnect(self) -> None:
        if self.discard_bytes is None:
            self.site.wrong_protocol(self, "bad_request")
            super()._respondToBadRequestAndDisconnect()
        else:
            # The request has its answer already.
            self.close()

    def abort(self) -> None:
        """Close the connection at once, and drop the bytes that have not been sent."""
        cast(Any, self.transport).abortConnection()

    def close(self) -> None:
        """Close the connection. Abort it after a bound if the client does not read the rest."""
        if self._abortingCall is None:
            self.setTimeout(None)
            self._abortingCall = self.callLater(self.abortTimeout, self.forceAbortClient)
            self.loseConnection()
