# SPDX-License-Identifier: Apache-2.0

"""
The common part of all stream connections of drains: start, TLS handshake, and end.
"""

from __future__ import annotations

from typing import TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IHandshakeListener,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

#: A connection that was closed politely is aborted if the peer has not agreed within this time.
CLOSE_TIMEOUT_S = 5.0


@implementer(IHandshakeListener)
class StreamConnection(Protocol):
    """
    A connection over TCP or TLS that reports nothing after it was closed or aborted.

    :ivar secured: fires when the TLS handshake is done and the connection can be used.
    """

    def __init__(self, clock: IReactorTime, tls: bool) -> None:
        self.clock = clock
        self.secured: Deferred[None] | None = Deferred(self._forsaken) if tls else None
        self.ended = False
        #: For what is being sent; after the end, for the peer's consent.
        self.timer: IDelayedCall | None = None

    def lost(self, reason: Failure) -> None:
        """Report that the peer or the network has ended the connection while the drain used it."""
        raise NotImplementedError

    def close(self) -> None:
        """See :meth:`ReceiverConnection.close`."""
        if not self.ended:
            self.end()
            if self.transport is not None:
                self.timer = self.clock.callLater(CLOSE_TIMEOUT_S, self._abort_transport)
                self.transport.loseConnection()

    def abort(self) -> None:
        """See :meth:`ReceiverConnection.abort`."""
        if not self.ended:
            self.end()
            self._abort_transport()

    def end(self) -> None:
        """Stop reporting events of the connection."""
        self.ended = True
        self.stop_timer()

    def stop_timer(self) -> None:
        timer, self.timer = self.timer, None
        if timer is not None and timer.active():
            timer.cancel()

    # Called by Twisted.

    def connectionMade(self) -> None:
        """
        Switch Nagle's algorithm off for the new connection.

        Drains write in pieces that are worth a packet. With Nagle's algorithm, the last packet of
        each piece would wait for an acknowledgement that the peer delays (RFC 9293 §3.7.4):
        measured, 200 ms for every 16 kB.
        """
        if ITCPTransport.providedBy(self.transport):
            ITCPTransport(self.transport).setTcpNoDelay(True)

    def handshakeCompleted(self) -> None:
        """
        See :class:`IHandshakeListener`. The receiver's certificate and name are verified at this
        point.
        """
        secured, self.secured = self.secured, None
        if secured is not None:
            secured.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.transport = None
        secured, self.secured = self.secured, None
        if secured is not None:
            self.end()
            secured.errback(reason)
        elif self.ended:
            self.stop_timer()
        else:
            self.lost(reason)

    # Giving up connections.

    def _forsaken(self, _: object) -> None:
        """
        Abort the connection, because the attempt to connect was cancelled during the TLS handshake.
        """
        self.secured = None
        self.abort()

    def _abort_transport(self) -> None:
        self.timer = None
        if self.transport is not None:
            # Every stream transport has this method, but ITransport does not.
            self.transport.abortConnection()  # type: ignore[attr-defined]


C = TypeVar("C", bound=StreamConnection)


async def open_connection(
    endpoint: IStreamClientEndpoint, factory: IProtocolFactory, kind: type[C]
) -> C:
    """
    Connect to an endpoint, and return the connection when it can be used.

    :param factory: makes protocols of the class ``kind``.
    """
    connection = cast(C, await endpoint.connect(factory))
    if connection.secured is not None:
        await connection.secured
    return connection
