"""
One client's connection to a site, and the requests that come over it.
"""

from __future__ import annotations

import re
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http, server
from zope.interface import implementer

from logplex.web.refusals import SERVER_ERROR, Refusal

if TYPE_CHECKING:
    from logplex.web.site import Site

_log = Logger()

_ABSOLUTE = re.compile(rb"https?://([^/?#]+)((?:[/?].*)?)", re.IGNORECASE | re.DOTALL)

#: So much of a refused request's body is read and thrown away, for the sake of clients that look
#: for the answer only when they have sent everything; then the connection is closed.
MAX_DISCARDED_BYTES = 65_536

#: A client that closes its side may be gone, or may only have said that it has nothing more to ask
#: (``nc -N``). It gets an answer within so many seconds after its request, or none.
HALF_CLOSED_S = 15.0
#: What is written to it already has so long to go out; a tail would be followed for nobody.
HALF_CLOSED_ANSWER_S = 2.0


def origin_form(target: bytes) -> tuple[bytes, bytes | None]:
    """
    A request's target as a path and query, and the host that it names where it was a whole URL
    (RFC 9112 §3.2.2: what is sent to proxies, and must be understood by servers).
    """
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        return target, None
    host, rest = absolute.groups()
    return rest if rest.startswith(b"/") else b"/" + rest, host


class Request(server.Request):
    """A request; its body is kept in memory, up to the site's bound."""

    defaultContentType = b"text/plain; charset=utf-8"
    channel: Connection
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
class Connection(http.HTTPChannel):
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
        elif self.cutting_off is None and self.requests[0].startedWriting:
            self.cutting_off = self.callLater(HALF_CLOSED_ANSWER_S, self.close)
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
        self._path, host = origin_form(self._path)
        if host is not None:
            # It counts, not what the header says.
            request.requestHeaders.setRawHeaders(b"Host", [host])
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
