# SPDX-License-Identifier: Apache-2.0

"""
A site: an HTTP resource with checks and bounds for every request.
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
from logplex.web.connection import (
    AMBIGUOUS,
    BUSY,
    SERVER_ERROR,
    TOO_LARGE,
    Connection,
    Refusal,
    Request,
)
from logplex.web.connection_bound import LEAST_SHARED, ConnectionBound, address_of

_log = Logger()

# Headers that a request has once, because two readers might not take the same one of two.
_ONCE = (b"Host", b"Authorization", b"Transfer-Encoding")

#: The shortest time between two lines in the log about clients that speak another protocol.
LOG_INTERVAL_S = 60.0


@frozen
class Bounds:
    """
    The bounds of a site.

    :ivar body_bytes: the maximum size of a body. A larger body is refused.
    :ivar connections: the maximum number of connections of all listeners of the site together.
        Further connections are closed at once. One client address gets at most half of the
        connections that other clients leave free.
    :ivar idle_timeout_s: the time after which a connection is closed if the client sends nothing,
        and the maximum time for a whole request head. An answer may take any time.
    :ivar body_bytes_per_s: the minimum average rate of a body. The connection of a slower body is
        closed after the idle timeout.
    :ivar waiting_bytes: the maximum size of all bodies whose requests have not been answered.
        Further requests are answered 503.
    """

    body_bytes: int
    connections: int
    idle_timeout_s: float
    body_bytes_per_s: float = 1_000.0
    waiting_bytes: int = 268_435_456


def api_bounds(limits: Live[Limits]) -> Callable[[], Bounds]:
    """Return a function that returns the present bounds of an API's site."""
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
    An HTTP site that serves a resource within bounds.

    :ivar bounds: returns the present bounds.
    :ivar waiting_bytes: the size of all bodies whose requests have not been answered.
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
        Make a site. Several listeners can share the site.

        :param admit: the function that checks every request when the request's head has been read.
            If the function refuses a request, the resource does not get the request, and the body
            is not read.
        :param too_large: the refusal of a body that is larger than the bound.
        :param refused: called for every refused request.
        :param more_samples: returns additional metrics of the site.
        """
        super().__init__(
            resource, requestFactory=Request, reactor=clock, parsePOSTFormSubmission=False
        )
        self._admit = admit
        self.bounds = bounds
        self.too_large = too_large
        self.refused = refused
        self._more_samples = more_samples
        self._bound = ConnectionBound(clock)
        self._wrong_protocols: Counter[str] = Counter()
        self._complained_at: float | None = None
        self.waiting_bytes = 0
        self._waiting_by_address: Counter[str] = Counter()
        # With the address of each client when it came.
        self._connections: dict[Connection, str] = {}
        self._closed: Deferred[None] | None = None

    def close(self) -> Deferred[None]:
        """
        Close every connection as soon as the connection has no open request. Close the listeners
        before. The result fires when all connections are closed.

        The caller bounds the wait, because an answer may be a stream without end.
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
        Yield metrics: the open connections, the refused connections, and the site's own metrics.

        :param listener: the name of the listener's option in ``[listen]``.
        """
        yield from connection_samples(listener, len(self._connections), self._bound.refused)
        yield from wrong_protocol_samples(listener, self._wrong_protocols)
        yield from self._more_samples()

    def troubles(self, listener: str) -> list[str]:
        """
        Return a line of text for each present problem of the listener.

        :param listener: the name of the listener's option in ``[listen]``.
        """
        return self._bound.troubles(listener)

    # Called by the connections.

    def buildProtocol(self, addr: IAddress | None) -> Any:
        self.timeOut = self.bounds().idle_timeout_s
        return super().buildProtocol(addr)

    def connected(self, connection: Connection) -> bool:
        """Count a new connection. Return false if there is no room for the connection."""
        address = address_of(connection.getPeer())
        if not self._bound.admit(address, self.bounds().connections):
            return False
        self._connections[connection] = connection.address = address
        return True

    def disconnected(self, connection: Connection) -> None:
        """Remove an ended connection from the count."""
        address = self._connections.pop(connection, None)
        if address is not None:
            self._bound.leave(address)
        if self._closed is not None and not self._connections:
            closed, self._closed = self._closed, None
            closed.callback(None)

    def wrong_protocol(self, connection: Connection, protocol: str) -> None:
        """
        Count a connection that speaks another protocol than HTTP. Log it at most once in a while.
        """
        self._wrong_protocols[protocol] += 1
        now = self.reactor.seconds()
        if self._complained_at is None or now - self._complained_at >= LOG_INTERVAL_S:
            self._complained_at = now
            peer = getattr(connection.getPeer(), "host", "unknown")
            _log.warn(
                "a client at {peer} does not speak HTTP/1.1: {protocol}",
                peer=peer,
                protocol=protocol,
            )

    def hold(self, address: str, size: int) -> bool:
        """Reserve memory for a part of a body. Return false if there is no memory left."""
        if not self._has_room(address, size):
            return False
        self.waiting_bytes += size
        self._waiting_by_address[address] += size
        return True

    def release(self, address: str, size: int) -> None:
        """Release the memory of a part of a body."""
        self.waiting_bytes -= size
        self._waiting_by_address[address] -= size
        if not self._waiting_by_address[address]:
            del self._waiting_by_address[address]

    def _has_room(self, address: str, size: int) -> bool:
        """
        Return true if there is memory left. One address gets at most half of what others leave
        free, unless the bound is only that of a few bodies.
        """
        bounds = self.bounds()
        own = self._waiting_by_address[address]
        free = bounds.waiting_bytes - self.waiting_bytes
        if address and bounds.waiting_bytes >= LEAST_SHARED * bounds.body_bytes:
            return 2 * (own + size) <= free + own
        return size <= free

    def reading_s(self, size: int) -> float:
        """Return the seconds that a client gets to read an answer of this size."""
        bounds = self.bounds()
        return bounds.idle_timeout_s + size / max(1.0, bounds.body_bytes_per_s)

    def judge(self, request: Request, length: int | None) -> Refusal | None:
        """
        Return a refusal of a request whose head has been read; ``None`` to accept the request.

        :param length: the length of the body; ``None`` if the head does not contain the length.
        """
        try:
            refusal = self._admit(request)
        except Exception:
            _log.failure("bug: a request's head cannot be judged")
            return SERVER_ERROR
        if refusal is not None:
            return refusal
        if any(len(request.requestHeaders.getRawHeaders(name, ())) > 1 for name in _ONCE):
            return AMBIGUOUS
        bounds = self.bounds()
        if length is not None and length > bounds.body_bytes:
            return self.too_large
        least_bytes = 1 if length is None else length
        if least_bytes and not self._has_room(request.channel.address, least_bytes):
            return BUSY
        return None

    def acceptableProtocols(self) -> list[bytes]:
        return [b"http/1.1"]

    # No access log, and no clock that ticks for it every second.

    def startFactory(self) -> None:
        pass

    def stopFactory(self) -> None:
        pass

    def log(self, request: http.Request) -> None:
        pass
