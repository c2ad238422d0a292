# SPDX-License-Identifier: Apache-2.0

"""
Syslog drains over TCP and TLS (PROTOCOL §9, RFC 6587 §3.4.1, RFC 5425).

These drains write octet-counted frames, in pieces of some kilobytes, as fast as the peer reads.

A piece counts as delivered when the kernel has accepted all of its bytes. Bytes that the kernel
accepted just before the peer closed the connection are lost, and the drain cannot know it.
"""

from __future__ import annotations

from typing import Any
from typing import Protocol as Contract

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPullProducer, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from zope.interface import implementer

from logplex.clock import wall_s
from logplex.drains.delivery.courier import Loss, Reports, Supply
from logplex.drains.delivery.pace import Backoff, Linger, Pace
from logplex.drains.kinds.acknowledged import Unacknowledged, unacknowledged_bytes
from logplex.drains.kinds.stream import StreamConnection, open_connection
from logplex.drains.network.errors import NOTICED, explain
from logplex.model.destination import SyslogDestination
from logplex.settings import DrainSettings
from logplex.syslog.inner import take_syslog_frames
from logplex.syslog.notices import l10_syslog_frame

#: Syslog receivers say nothing. A connection is ended on which the receiver says more than this.
MAX_HEARD_BYTES = 65_536

#: The shortest time between two looks for progress.
SHORTEST_LOOK_S = 0.01

#: A close by the receiver this long after the last write was taken is that of an idle connection.
IDLE_CLOSE_AFTER_S = 0.25


class Pieces(Contract):
    """The results that a syslog connection reports to its courier."""

    def taken(self) -> None:
        """
        Report that the kernel has accepted the whole piece, and that the connection is free again.
        """

    def left(self, why: str) -> None:
        """Report that the connection is lost, perhaps while a piece was being written."""

    def closed_idle(self) -> None:
        """Report that the receiver has closed the connection while it was unused."""


@implementer(IPullProducer)
class SyslogConnection(StreamConnection):
    """
    A connection to a syslog receiver; see
    :class:`~logplex.drains.delivery.courier.ReceiverConnection`.

    The connection is a pull producer of the TCP transport, also under TLS. TLS writes at once. So
    the transport asks the connection for more data exactly when the kernel has taken all earlier
    data.
    """

    def __init__(
        self,
        pieces: Pieces,
        stall_timeout_s: float,
        clock: IReactorTime,
        *,
        tls: bool,
        unacknowledged: Unacknowledged | None = None,
    ) -> None:
        """
        Make a connection for a courier.

        :param unacknowledged: returns the number of sent bytes that the peer's kernel has not
            acknowledged. A piece then counts as taken when this number is 0. ``None``: a piece
            counts as taken when this machine's kernel has accepted all bytes.
        """
        super().__init__(clock, tls)
        self._unacknowledged = unacknowledged
        self._unacknowledged_bytes = 0
        self._pieces = pieces
        self._stall_timeout_s = stall_timeout_s
        self._tls = tls
        self._producing = False
        self._writing = False
        self._progress_at = 0.0
        self._taken_at = 0.0
        self._heard_bytes = 0

    def end(self) -> None:
        super().end()
        self._writing = False
        if self._producing and self.transport is not None:
            # A transport with a producer does not end before it is unregistered.
            self._producing = False
            self._lowest.unregisterProducer()

    # Called by the courier.

    def write(self, octets: bytes) -> None:
        """Write one whole piece. The connection then calls one method of :class:`Pieces`."""
        if not self._producing:
            self._producing = True
            self._lowest.registerProducer(self, False)
        self._writing = True
        self._progress_at = self.clock.seconds()
        if self.timer is None:
            self.timer = self.clock.callLater(self._stall_timeout_s, self._look_for_progress)
        assert self.transport is not None
        self.transport.write(octets)

    # Called by Twisted.

    def resumeProducing(self) -> None:
        """See :class:`IPullProducer`. The kernel has accepted all data at this point."""
        if self._writing and self._unacknowledged is None:
            self._taken()
        elif self._writing:
            self._unacknowledged_bytes = 1 << 62
            self._look_for_acknowledgement(_FIRST_LOOK_S)

    def _taken(self) -> None:
        self._writing = False
        self._taken_at = self.clock.seconds()
        self._pieces.taken()

    def _look_for_acknowledgement(self, again_s: float) -> None:
        """
        Check if the peer has acknowledged the whole piece. If not, check again after ``again_s``
        seconds, and then after twice the time.
        """
        if not self._writing or self._unacknowledged is None:
            return
        left_bytes = self._unacknowledged(self._lowest)
        if not left_bytes:
            self._taken()
            return
        if left_bytes < self._unacknowledged_bytes:
            self._progress_at = self.clock.seconds()
        self._unacknowledged_bytes = left_bytes
        later_s = min(2 * again_s, _LAST_LOOK_S)
        self.clock.callLater(again_s, self._look_for_acknowledgement, later_s)

    def stopProducing(self) -> None:
        """See :class:`IPullProducer`. The connection has ended; a call of :meth:`lost` follows."""
        self._producing = False

    def dataReceived(self, data: bytes) -> None:
        self._heard_bytes += len(data)
        if self._heard_bytes > MAX_HEARD_BYTES and not self.ended:
            self.abort()
            self._pieces.left("the receiver says more than a syslog receiver should")

    def lost(self, reason: Failure) -> None:
        idle_s = 0.0 if self._writing else self.clock.seconds() - self._taken_at
        self.end()
        if idle_s >= IDLE_CLOSE_AFTER_S and reason.check(ConnectionDone):
            self._pieces.closed_idle()
        else:
            self._pieces.left(f"the connection was lost: {explain(reason)}")

    # Watching progress.

    @property
    def _lowest(self) -> Any:
        transport: Any = self.transport
        return transport.transport if self._tls else transport

    def _look_for_progress(self) -> None:
        """
        Abort the connection if the receiver has read nothing for too long.

        One timer serves all pieces, since most pieces are written at once.
        """
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


#: A durable drain looks for the acknowledgement of a piece after this time, and then less and less
#: often: on one machine it is there at once, over a sea after some 100 ms.
_FIRST_LOOK_S = 0.001
_LAST_LOOK_S = 0.05

#: A busy drain with this many messages does not linger.
ENOUGH_MESSAGES = 128

#: A piece goes to the kernel in one turn of the reactor, and each turn may bring 64 KiB of new
#: messages. So that a drain keeps up with a burst, pieces grow to this many times their usual size,
MOST_GROWTH = 16
#: each to twice the last one, if more waits and the kernel took that one within this time. They
#: stay small if it is slow: then a piece may be cut off, and must be sent again.
AT_ONCE_S = 0.05


def syslog_pace(settings: DrainSettings, linger: Linger) -> Pace:
    """Return the times that syslog drains over TCP and TLS keep."""
    return Pace(
        connect_timeout_s=settings.connect_timeout_s,
        linger=linger,
        linger_messages=ENOUGH_MESSAGES,
        idle_s=settings.syslog_idle_timeout_s,
        idle_jitter_s=settings.idle_jitter_s,
        max_age_s=settings.max_age_s,
    )


@define(eq=False, repr=False)
class _Write:
    """
    A piece of data that a syslog drain writes at once. It is sent again if the kernel does not
    accept all of it.

    :ivar loss: the lost messages. A notice before the frames tells the receiver about them.
    """

    frames: list[bytes]
    notice: bytes
    loss: Loss | None


@define(eq=False, repr=False, kw_only=True)
class SyslogCourier:
    """
    The courier of syslog drains over TCP and TLS; see
    :class:`~logplex.drains.delivery.courier.Courier`.

    :ivar endpoint: connects to the receiver, with TLS if the destination asks for it.
    :ivar unacknowledged: returns the number of sent bytes that the receiver's kernel has not
        acknowledged, for durable drains.
    """

    destination: SyslogDestination
    drain_token: bytes
    buffer: Supply
    backoff: Backoff
    reports: Reports
    settings: DrainSettings
    endpoint: IStreamClientEndpoint
    clock: IReactorTime
    unacknowledged: Unacknowledged = unacknowledged_bytes
    _write: _Write | None = field(default=None, init=False)
    _piece_bytes: int = field(default=0, init=False)
    _written_at: float = field(default=0.0, init=False)

    # Called by the drain's lifecycle.

    @property
    def under_way(self) -> bool:
        """See :attr:`Courier.under_way`."""
        return self._write is not None

    def connect(self) -> Deferred[SyslogConnection]:
        """See :meth:`Courier.connect`."""
        self._piece_bytes = self.settings.syslog_piece_bytes
        return Deferred.fromCoroutine(self._connect())

    async def _connect(self) -> SyslogConnection:
        return await open_connection(self.endpoint, _SyslogConnections(self), SyslogConnection)

    def send(self, connection: SyslogConnection) -> None:
        """See :meth:`Courier.send`."""
        write = self._write or self._next_piece()
        if write is None:
            self.reports.finished()
            return
        self._write = write
        self._written_at = self.clock.seconds()
        connection.write(write.notice + b"".join(write.frames))

    def refused(self, why: Failure) -> float:
        """See :meth:`Courier.refused`."""
        notice = not isinstance(why.value, NOTICED)
        return self.backoff.failed(f"no connection: {explain(why)}", notice)

    def recall(self) -> None:
        """See :meth:`Courier.recall`."""
        self.backoff.stop()
        write, self._write = self._write, None
        if write is not None:
            # Without its length a frame is a message.
            self.buffer.put_back([frame.split(b" ", 1)[1] for frame in write.frames])
            self.buffer.return_loss(write.loss)

    # Called by connections: see :class:`Pieces`.

    def taken(self) -> None:
        """See :meth:`Pieces.taken`."""
        write, self._write = self._write, None
        assert write is not None
        self.buffer.told(write.loss)
        self.buffer.deliver(len(write.frames))
        self.backoff.wrote()
        usual = self.settings.syslog_piece_bytes
        if self.buffer.messages and self.clock.seconds() - self._written_at < AT_ONCE_S:
            self._piece_bytes = min(2 * self._piece_bytes, MOST_GROWTH * usual)
        else:
            self._piece_bytes = usual
        self.reports.finished(at_once=True)

    def left(self, why: str) -> None:
        """See :meth:`Pieces.left`."""
        self.reports.over(self.backoff.failed(why))

    def closed_idle(self) -> None:
        """
        See :meth:`Pieces.closed_idle`. This counts as no failure, so the drain may connect again.
        """
        self.backoff.stop()
        self.reports.over()

    # Making pieces.

    def _next_piece(self) -> _Write | None:
        frames, unparsable = take_syslog_frames(
            self.buffer.messages, self.drain_token, self._piece_bytes
        )
        self.buffer.took(len(frames), unparsable)
        if not frames:
            return None
        loss = self.buffer.take_loss()
        notice = b""
        if loss is not None:
            notice = l10_syslog_frame(wall_s(self.clock), self.drain_token, loss.count, loss.since)
        return _Write(frames, notice, loss)


@define(eq=False, repr=False)
class _SyslogConnections(Factory):
    """
    A factory of the connections for one attempt. A host with several addresses may need several
    connections.
    """

    courier: SyslogCourier
    noisy = False

    def buildProtocol(self, addr: object) -> SyslogConnection:
        courier = self.courier
        return SyslogConnection(
            courier,
            courier.settings.syslog_stall_timeout_s,
            courier.clock,
            tls=courier.destination.tls,
            unacknowledged=courier.unacknowledged if courier.buffer.keeps else None,
        )
