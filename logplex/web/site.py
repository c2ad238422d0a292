"""
A site: a resource, with the checks and bounds that a request passes before it reaches it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger
from twisted.web import http, server
from twisted.web.resource import IResource

from logplex.live import Live
from logplex.metrics import Sample, Source, connection_samples, wrong_protocol_samples
from logplex.settings import Limits
from logplex.web.connection import SERVER_ERROR, TOO_LARGE, Connection, Refusal, Request

_log = Logger()

#: The shortest time between two lines in the log about clients that speak another protocol.
LOG_INTERVAL_S = 60.0


@frozen
class Bounds:
    """
    The bounds of a site.

    :ivar body_bytes: larger bodies are refused, by ``Content-Length`` or when more has arrived.
    :ivar connections: for all listeners of the site together; a further one is closed at once.
    :ivar idle_timeout_s: a connection is closed if no request, or no further part of one, arrives
        for this long. An answer may take, or stream, any time.
    """

    body_bytes: int
    connections: int
    idle_timeout_s: float


def api_bounds(limits: Live[Limits]) -> Callable[[], Bounds]:
    """Return a function that gives the bounds of the APIs' sites as the limits are then."""
    return lambda: Bounds(
        limits.now.api_body_bytes, limits.now.api_connections, limits.now.api_idle_timeout_s
    )


def _ignore(request: Request, refusal: Refusal) -> None:
    pass


#: Looks at the request's method, path and headers. Response headers that it sets on the request
#: are on every answer to it, and components that it sets are there for the resource.
Admit = Callable[[Request], Refusal | None]


class Site(server.Site):
    """
    Serves a resource within bounds.

    :ivar bounds: gives the bounds as they are now.
    :ivar refused_connections: connections closed for lack of room, since the start.
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
        refused: Callable[[Request, Refusal], None] = _ignore,
        more_samples: Source = tuple,
    ) -> None:
        """
        :param admit: called for every request as soon as its head has been read. A request that it
            refuses never reaches the resource; its body is not read, and no ``100 Continue`` is
            sent.
        :param too_large: the refusal of a larger body.
        :param refused: called for every refusal, with the request as far as it has arrived.
        :param more_samples: gives numbers of the site's own, for the metrics.
        """
        super().__init__(
            resource, requestFactory=Request, reactor=clock, parsePOSTFormSubmission=False
        )
        self._admit = admit
        self.bounds = bounds
        self.too_large = too_large
        self.refused = refused
        self._more_samples = more_samples
        self.refused_connections = 0
        self._wrong_protocols: Counter[str] = Counter()
        self._complained_at: float | None = None
        self._connections: set[Connection] = set()
        self._closed: Deferred[None] | None = None

    def close(self) -> Deferred[None]:
        """
        Close every connection as soon as it has no request. The listeners must be closed before.
        Fires when no connection is left; the caller bounds the wait, because answers may stream.
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
        Yield the numbers of open and of refused connections, and the site's own, for the metrics.

        :param listener: the option in ``[listen]``.
        """
        yield from connection_samples(listener, len(self._connections), self.refused_connections)
        yield from wrong_protocol_samples(listener, self._wrong_protocols)
        yield from self._more_samples()

    # Called by the connections.

    def buildProtocol(self, addr: IAddress | None) -> Any:
        self.timeOut = self.bounds().idle_timeout_s
        return super().buildProtocol(addr)

    def connected(self, connection: Connection) -> bool:
        """Count a new connection; return false if there is no room for it."""
        if len(self._connections) >= self.bounds().connections:
            self.refused_connections += 1
            return False
        self._connections.add(connection)
        return True

    def disconnected(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        self._connections.discard(connection)
        if self._closed is not None and not self._connections:
            closed, self._closed = self._closed, None
            closed.callback(None)

    def wrong_protocol(self, connection: Connection, protocol: str) -> None:
        """Count a connection that speaks another protocol; log it, but not each one."""
        self._wrong_protocols[protocol] += 1
        now = self.reactor.seconds()
        if self._complained_at is None or now - self._complained_at >= LOG_INTERVAL_S:
            self._complained_at = now
            peer = getattr(connection.getPeer(), "host", "unknown")
            _log.warn(
                "a client at {peer} does not speak HTTP, but {protocol}",
                peer=peer,
                protocol=protocol,
            )

    def judge(self, request: Request, length: int | None) -> Refusal | None:
        """
        Refuse a request on its head, or return ``None``.

        :param length: of the body; ``None`` if the head does not say it.
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
