# SPDX-License-Identifier: Apache-2.0

"""
A site: a resource behind checks and bounds that every request has to pass.
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
from logplex.web.connection_bound import ConnectionBound, address_of

_log = Logger()

# Headers that a request has once, because two readers might not take the same one of two.
_ONCE = (b"Host", b"Authorization", b"Transfer-Encoding")

#: The shortest time between two lines in the log about clients that speak another protocol.
LOG_INTERVAL_S = 60.0


@frozen
class Bounds:
    """
    The bounds of a site.

    :ivar body_bytes: the largest body. A larger one is refused by its ``Content-Length``, or when
        more has arrived.
    :ivar connections: the most connections of all listeners of the site together; a further one is
        closed at once. One address gets at most half of the connections
        that others leave free.
    :ivar idle_timeout_s: the time after which a connection without a new request or a further part
        of a body is closed, and the longest time for a whole head. An answer may take any time.
    :ivar body_bytes_per_s: the least average rate of a body. A slower one is closed after the idle
        timeout, even if parts of it arrive.
    :ivar waiting_bytes: the most bytes of all bodies whose requests have no answer yet. Further
        requests are answered 503.
    """

    body_bytes: int
    connections: int
    idle_timeout_s: float
    body_bytes_per_s: float = 1_000.0
    waiting_bytes: int = 268_435_456


def api_bounds(limits: Live[Limits]) -> Callable[[], Bounds]:
    """Return a function that returns the present bounds of the APIs' sites."""
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
    A site that serves a resource within bounds.

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
        Make a site, which listeners can share.

        :param admit: called for every request as soon as its head has been read. A request that it
            refuses never reaches the resource; its body is not read, and no ``100 Continue`` is
            sent.
        :param too_large: the refusal of a body that is larger than the bound.
        :param refused: called for every refusal, with the request as far as it has arrived.
        :param more_samples: returns further numbers of the site, for the metrics.
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
        # With the address of each client when it came.
        self._connections: dict[Connection, str] = {}
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
        yield from connection_samples(listener, len(self._connections), self._bound.refused)
        yield from wrong_protocol_samples(listener, self._wrong_protocols)
        yield from self._more_samples()

    def troubles(self, listener: str) -> list[str]:
        """
        Return the present troubles of the listener, one line each.

        :param listener: the option in ``[listen]``.
        """
        return self._bound.troubles(listener)

    # Called by the connections.

    def buildProtocol(self, addr: IAddress | None) -> Any:
        self.timeOut = self.bounds().idle_timeout_s
        return super().buildProtocol(addr)

    def connected(self, connection: Connection) -> bool:
        """Count a new connection; return false if there is no room for it."""
        address = address_of(connection.getPeer())
        if not self._bound.admit(address, self.bounds().connections):
            return False
        self._connections[connection] = address
        return True

    def disconnected(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        address = self._connections.pop(connection, None)
        if address is not None:
            self._bound.leave(address)
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

    def hold(self, size: int) -> bool:
        """Reserve memory for bytes of a body; return false if there is no room for them."""
        if self.waiting_bytes + size > self.bounds().waiting_bytes:
            return False
        self.waiting_bytes += size
        return True

    def release(self, size: int) -> None:
        """Release the memory of bytes of a body."""
        self.waiting_bytes -= size

    def reading_s(self, size: int) -> float:
        """Return the time in which a client must read an answer; then its connection is cut."""
        bounds = self.bounds()
        return bounds.idle_timeout_s + size / max(1.0, bounds.body_bytes_per_s)

    def judge(self, request: Request, length: int | None) -> Refusal | None:
        """
        Return a refusal of a request whose head has been read, or ``None``.

        :param length: the length of the body; ``None`` if the head does not give it.
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
        if least_bytes and self.waiting_bytes + least_bytes > bounds.waiting_bytes:
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
