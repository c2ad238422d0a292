"""
What all our HTTP servers share: bounds, refusals before the body is read, and no idle talk.

A :class:`Site` is ``twisted.web``'s, without an access log (paths are secrets: they name sessions),
without HTTP/2, tracebacks, form parsing, temporary files or a ``Server`` header.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any, cast

from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IReactorTime,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http, server
from twisted.web.resource import IResource
from zope.interface import implementer

from logplex.config import Limits
from logplex.metrics import Sample, connection_samples

_log = Logger()

#: So much of a refused request's body is read and thrown away, for the sake of clients that look
#: for the answer only when they have sent everything; then the connection is closed.
MAX_DISCARDED_BYTES = 65_536

#: A client that closes its side may be gone, or may only have said that it has nothing more to ask
#: (``nc -N``). It gets an answer within so many seconds after its request, or none.
HALF_CLOSED_S = 15.0


@frozen
class Refusal:
    """
    An answer that is given as soon as a request's head has been read.

    :ivar headers: beside those that were already set on the request; the length is ours.
    :ivar delay_s: after how many seconds it is given; meanwhile nothing but a little is read.
    """

    status: int
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    delay_s: float = 0.0


def plain_refusal(status: int, text: str, *headers: tuple[bytes, bytes]) -> Refusal:
    """A refusal that says why in one line of plain text."""
    content_type = (b"Content-Type", b"text/plain; charset=utf-8")
    return Refusal(status, (content_type, *headers), text.encode())


TOO_LARGE = plain_refusal(413, "Request body too large")
SERVER_ERROR = plain_refusal(500, "Internal Server Error")


@frozen
class Bounds:
    """
    How much a site takes.

    :ivar body_bytes: larger bodies are refused, by their ``Content-Length`` or when more has come.
    :ivar connections: of all listeners of the site together; one more is closed at once.
    :ivar idle_timeout_s: connections are closed on which a request, or the rest of one, does not
        come; an answer may take, or stream, as long as it likes.
    """

    body_bytes: int
    connections: int
    idle_timeout_s: float


def api_bounds(limits: Limits) -> Callable[[], Bounds]:
    """The bounds of the APIs' sites, as the limits are when they are asked for."""
    return lambda: Bounds(limits.api_body_bytes, limits.api_connections, limits.api_idle_timeout_s)


#: Looks at the request's method, path and headers. Response headers that it sets on the request
#: are on every answer to it, and components that it sets are there for the resource.
Admit = Callable[["Request"], Refusal | None]


class Request(server.Request):
    """A request; its body is kept in memory, up to the site's bound."""

    defaultContentType = b"text/plain; charset=utf-8"
    channel: _Channel
    content: BytesIO
    _refused = False
    # Of a refused request: whether it has come whole, and whether its answer is written.
    _received = False
    _answered = False

    def begin(self, method: bytes, uri: bytes, version: bytes) -> None:
        """The head has been read. Now is said what otherwise is said when the body has come."""
        self.method, self.uri, self.clientproto = method, uri, version
        self.path = uri.partition(b"?")[0]

    def refuse(self, refusal: Refusal) -> None:
        """Write the whole answer, now or later; the rest of the body does not matter any more."""
        self._refused = True
        self.content = BytesIO()
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
        """Where it comes from; behind a balancer, where that says it does."""
        return str(getattr(self.getClientAddress(), "host", "")) or "-"

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        if self._refused:
            return
        site = self.channel.site
        if self.content.tell() + len(data) > site.bounds().body_bytes:
            self.channel.refuse(self, site.too_large)
        else:
            self.content.write(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        if self._answered:
            self.finish()
        elif self._refused:
            self._received = True
        else:
            super().requestReceived(command, path, version)

    def answer(self, body: bytes) -> int:
        """
        Give the whole answer; what a resource's method returns. (Where it returned the body,
        Twisted would log a line for every HEAD.)
        """
        self.setHeader(b"Content-Length", b"%d" % len(body))
        self.write(body)
        self.finish()
        return server.NOT_DONE_YET

    def write(self, data: bytes) -> None:
        if not self.startedWriting:
            self.responseHeaders.removeHeader(b"Server")
        super().write(data)

    def processingFailed(self, reason: Failure) -> Failure:
        """A resource has a bug: the client is told nothing of it."""
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
class _Channel(http.HTTPChannel):
    """One connection. The names in camel case, and those that begin with ``_``, are Twisted's."""

    site: Site
    discard_bytes: int | None = None
    #: When the request that is being answered had come whole.
    received_at = 0.0
    #: Of a client that sends no more: cuts it off.
    cutting_off: IDelayedCall | None = None

    def connectionMade(self) -> None:
        super().connectionMade()
        if not self.site.connected(self):
            self.close()

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        super().connectionLost(reason)
        self.site.disconnected(self)
        if self.cutting_off is not None and self.cutting_off.active():
            self.cutting_off.cancel()

    def readConnectionLost(self) -> None:
        """
        The client sends no more. Whether it still reads, nobody knows: what it has asked for is
        answered, but only for so long.
        """
        if not self._handlingRequest:
            self.close()
        elif self.cutting_off is None:
            rest = self.received_at + HALF_CLOSED_S - self.site.reactor.seconds()
            self.cutting_off = self.callLater(max(0.0, rest), self.abort)

    def writeConnectionLost(self) -> None:
        """We never close only our side."""

    def allContentReceived(self) -> None:
        self.received_at = self.site.reactor.seconds()
        super().allContentReceived()

    def requestDone(self, request: http.Request) -> None:
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
        request.begin(self._command, self._path, self._version)
        refusal = self.site.judge(request, self.length)
        if refusal is None:
            # Keeps the connection or not, as the client wishes; answers "Expect: 100-continue".
            super().allHeadersReceived()
        elif self.length == 0:
            self.persistent = self.checkPersistence(request, self._version)
            request.refuse(refusal)
        else:
            self.refuse(request, refusal)

    def refuse(self, request: Request, refusal: Refusal) -> None:
        """Refuse a request of whose body some is still to come."""
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
            super()._respondToBadRequestAndDisconnect()
        else:
            # The request has its answer already.
            self.close()

    def abort(self) -> None:
        """Close at once, whatever was written and not sent."""
        cast(Any, self.transport).abortConnection()

    def close(self) -> None:
        """Close, and within a bound also where the client does not take what was written."""
        if self._abortingCall is None:
            self.setTimeout(None)
            self._abortingCall = self.callLater(self.abortTimeout, self.forceAbortClient)
            self.loseConnection()


class Site(server.Site):
    """
    Serves a resource within bounds.

    :ivar bounds: gives the bounds as they are now.
    :ivar refused_connections: how many were one too many, since the start.
    """

    displayTracebacks = False
    noisy = False
    protocol = _Channel  # type: ignore[assignment]

    def __init__(
        self,
        resource: IResource,
        *,
        admit: Admit,
        bounds: Callable[[], Bounds],
        clock: IReactorTime,
        too_large: Refusal = TOO_LARGE,
    ) -> None:
        """
        :param admit: is asked about every request as soon as its head has been read; what it
            refuses never reaches the resource, and its body is not read (and not asked for: no
            ``100 Continue``).
        :param too_large: the refusal of a larger body.
        """
        super().__init__(
            resource, requestFactory=Request, reactor=clock, parsePOSTFormSubmission=False
        )
        self._admit = admit
        self.bounds = bounds
        self.too_large = too_large
        self.refused_connections = 0
        self._channels: set[_Channel] = set()
        self._closed: Deferred[None] | None = None

    def close(self) -> Deferred[None]:
        """
        Close every connection as soon as it has no request. New ones must not come any more.
        Fires when none is left; bound the wait where answers stream.
        """
        if not self._channels:
            return succeed(None)
        self._closed = self._closed or Deferred()
        for channel in list(self._channels):
            channel.persistent = False
            if not channel.requests:
                channel.close()
        return self._closed

    def samples(self, listener: str) -> Iterator[Sample]:
        """
        How many connections there are, for the metrics.

        :param listener: the option in ``[listen]``.
        """
        return connection_samples(listener, len(self._channels), self.refused_connections)

    # What the connections tell, and ask.

    def buildProtocol(self, addr: IAddress | None) -> Any:
        self.timeOut = self.bounds().idle_timeout_s
        return super().buildProtocol(addr)

    def connected(self, channel: _Channel) -> bool:
        """A new connection: whether there is room for it."""
        if len(self._channels) >= self.bounds().connections:
            self.refused_connections += 1
            return False
        self._channels.add(channel)
        return True

    def disconnected(self, channel: _Channel) -> None:
        """A connection has ended."""
        self._channels.discard(channel)
        if self._closed is not None and not self._channels:
            closed, self._closed = self._closed, None
            closed.callback(None)

    def judge(self, request: Request, length: int | None) -> Refusal | None:
        """
        Whether the request is refused on its head.

        :param length: of the body, where the head says it.
        """
        try:
            refusal = self._admit(request)
        except Exception:
            _log.failure("bug: a request's head cannot be judged")
            return SERVER_ERROR
        if refusal is None and length is not None and length > self.bounds().body_bytes:
            return self.too_large
        return refusal

    def acceptableProtocols(self) -> list[bytes]:
        return [b"http/1.1"]

    # No access log, and no clock that ticks for it every second.

    def startFactory(self) -> None:
        pass

    def stopFactory(self) -> None:
        pass

    def log(self, request: http.Request) -> None:
        pass
