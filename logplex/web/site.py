"""
A site: a resource, and what is asked and bounded before a request reaches it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger
from twisted.web import http, server
from twisted.web.resource import IResource

from logplex.metrics import Sample, connection_samples
from logplex.settings import Limits
from logplex.web.connection import Connection, Request
from logplex.web.refusals import SERVER_ERROR, TOO_LARGE, Refusal

_log = Logger()


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
Admit = Callable[[Request], Refusal | None]


class Site(server.Site):
    """
    Serves a resource within bounds.

    :ivar bounds: gives the bounds as they are now.
    :ivar refused_connections: how many were one too many, since the start.
    """

    displayTracebacks = False
    noisy = False
    protocol = Connection  # type: ignore[assignment]

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
        self._connections: set[Connection] = set()
        self._closed: Deferred[None] | None = None

    def close(self) -> Deferred[None]:
        """
        Close every connection as soon as it has no request. New ones must not come any more.
        Fires when none is left; bound the wait where answers stream.
        """
        if not self._connections:
            return succeed(None)
        self._closed = self._closed or Deferred()
        for connection in list(self._connections):
            connection.persistent = False
            if not connection.requests:
                connection.close()
        return self._closed

    def samples(self, listener: str) -> Iterator[Sample]:
        """
        How many connections there are, for the metrics.

        :param listener: the option in ``[listen]``.
        """
        return connection_samples(listener, len(self._connections), self.refused_connections)

    # What the connections tell, and ask.

    def buildProtocol(self, addr: IAddress | None) -> Any:
        self.timeOut = self.bounds().idle_timeout_s
        return super().buildProtocol(addr)

    def connected(self, connection: Connection) -> bool:
        """A new connection: whether there is room for it."""
        if len(self._connections) >= self.bounds().connections:
            self.refused_connections += 1
            return False
        self._connections.add(connection)
        return True

    def disconnected(self, connection: Connection) -> None:
        """A connection has ended."""
        self._connections.discard(connection)
        if self._closed is not None and not self._connections:
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
