"""
One connection to a syslog receiver: a piece at a time, paced by the transport.
"""

from __future__ import annotations

from typing import Any
from typing import Protocol as Contract

from twisted.internet.interfaces import IPullProducer, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from logplex.drains.kinds.stream import StreamConnection
from logplex.drains.network.errors import explain

#: Syslog receivers say nothing. One that says more than this costs more than it should.
MAX_HEARD_BYTES = 65_536

#: A stalled receiver is looked after no sooner than this after the last look.
SHORTEST_LOOK_S = 0.01


class Pieces(Contract):
    """Who makes the pieces: the courier."""

    def send(self, connection: SyslogConnection) -> None:
        """The connection is free: write a piece to it, or report that there is none."""

    def taken(self) -> None:
        """The kernel has taken all of the piece; the connection is free again."""

    def left(self, why: str) -> None:
        """The connection is gone, whether or not a piece was being written."""


@implementer(IPullProducer)
class SyslogConnection(StreamConnection):
    """
    See :class:`~logplex.drains.delivery.courier.Connection`.

    It is the pull producer of the lowest transport, also below TLS, which writes what it is given
    at once. So it is asked to produce exactly when the kernel has taken everything.
    """

    def __init__(
        self, pieces: Pieces, stall_timeout_s: float, clock: IReactorTime, tls: bool
    ) -> None:
        super().__init__(clock, tls)
        self._pieces = pieces
        self._stall_timeout_s = stall_timeout_s
        self._tls = tls
        self._producing = False
        self._writing = False
        self._progress_at = 0.0
        self._heard_bytes = 0

    # What the drain's life asks.

    def send(self) -> None:
        """See :meth:`Connection.send`."""
        self._pieces.send(self)

    def end(self) -> None:
        super().end()
        self._writing = False
        if self._producing and self.transport is not None:
            # A transport with a producer does not end before it is unregistered.
            self._producing = False
            self._lowest.unregisterProducer()

    # What the courier asks.

    def write(self, octets: bytes) -> None:
        """Write one whole piece; :class:`Pieces` is told once what became of it."""
        if not self._producing:
            self._producing = True
            self._lowest.registerProducer(self, False)
        self._writing = True
        self._progress_at = self.clock.seconds()
        if self.timer is None:
            self.timer = self.clock.callLater(self._stall_timeout_s, self._look_for_progress)
        assert self.transport is not None
        self.transport.write(octets)

    # What Twisted calls.

    def resumeProducing(self) -> None:
        """See :class:`IPullProducer`: the kernel has taken everything."""
        if self._writing:
            self._writing = False
            self._pieces.taken()

    def stopProducing(self) -> None:
        """See :class:`IPullProducer`: the connection is gone, as :meth:`lost` will say."""
        self._producing = False

    def dataReceived(self, data: bytes) -> None:
        self._heard_bytes += len(data)
        if self._heard_bytes > MAX_HEARD_BYTES and not self.ended:
            self.abort()
            self._pieces.left("the receiver says more than a syslog receiver should")

    def lost(self, reason: Failure) -> None:
        self.end()
        self._pieces.left(f"the connection was lost: {explain(reason)}")

    # How it is done.

    @property
    def _lowest(self) -> Any:
        transport: Any = self.transport
        return transport.transport if self._tls else transport

    def _look_for_progress(self) -> None:
        """One timer for many pieces: most of them take no time at all."""
        self.timer = None
        if not self._writing:
            return
        left_s = self._progress_at + self._stall_timeout_s - self.clock.seconds()
        if left_s > 0:
            # Rounding may leave so little that the clock would still say the same then.
            self.timer = self.clock.callLater(max(left_s, SHORTEST_LOOK_S), self._look_for_progress)
        else:
            self.abort()
            self._pieces.left(f"the receiver has read nothing for {self._stall_timeout_s:g} s")
