"""
One drain while it runs: what stays when its URL changes, what its channel is told, and how it ends.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from logplex.drains.delivery.buffer import Buffer, Loss
from logplex.drains.delivery.courier import Outcome
from logplex.drains.delivery.lifecycle import Lifecycle, Phase
from logplex.drains.network.errors import CertificateRejected, DestinationDenied
from logplex.interfaces import DrainStatus, IOutlet, Tell
from logplex.live import Live
from logplex.model.destination import Destination
from logplex.model.values import Drain
from logplex.settings import Limits
from logplex.syslog.notices import denied_message, l10_message, l14_message

#: So long losses gather before the first notice, so that it does not tell of the first one alone.
GATHER_S = 1.0


@define(eq=False, repr=False)
class ChannelNotices:
    """
    The notices about one drain: each kind once per ``notice_interval_s`` at most.

    :ivar about: the drain's own outlet, which gets none of them.
    """

    tell: Tell
    limits: Live[Limits]
    clock: IReactorTime
    channel_id: str
    drain_token: str
    about: IOutlet | None = None
    _loss: Loss | None = field(default=None, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)
    _next_l10: float = field(default=0.0, init=False)
    _next_l14: float = field(default=0.0, init=False)
    _next_denied: float = field(default=0.0, init=False)

    def lost(self, count: int) -> None:
        """So many messages were lost now."""
        now = self.clock.seconds()
        if self._loss is not None:
            self._loss = Loss(self._loss.count + count, self._loss.since)
            return
        self._loss = Loss(count, now)
        self._timer = self.clock.callLater(max(GATHER_S, self._next_l10 - now), self.flush)

    def flush(self) -> None:
        """Tell now what has not been told of losses."""
        self._stop_timer()
        loss, self._loss = self._loss, None
        if loss is not None:
            now = self.clock.seconds()
            self._next_l10 = now + self.limits.now.notice_interval_s
            token = self.drain_token.encode("ascii", "replace")
            self._tell(l10_message(now, token, loss.count, loss.since))

    def certificate_rejected(self, reason: str, to: Destination) -> None:
        """The receiver could not prove who it is."""
        now = self.clock.seconds()
        if now >= self._next_l14:
            self._next_l14 = now + self.limits.now.notice_interval_s
            self._tell(l14_message(now, reason, to.scheme, to.host, to.port))

    def destination_denied(self, to: Destination) -> None:
        """The receiver is where drains may not connect to."""
        now = self.clock.seconds()
        if now >= self._next_denied:
            self._next_denied = now + self.limits.now.notice_interval_s
            self._tell(denied_message(now, to.scheme, to.host, to.port))

    def _tell(self, message: bytes) -> None:
        self.tell(self.channel_id, message, self.about)

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None


_log = Logger()


@define(eq=False, repr=False)
class RunningDrain:
    """
    A drain with a destination.

    What it takes to send is made when there is something to send: most drains of a large node
    sleep most of the time, and a life costs several times what the rest does.

    :ivar drain: as the registry knows it now.
    :ivar destination: where its messages go, or will go when a move is done.
    :ivar make_life: begins a life with the present drain and destination, not started.
    """

    drain: Drain
    destination: Destination
    buffer: Buffer
    outcome: Outcome
    notices: ChannelNotices
    clock: IReactorTime
    make_life: Callable[[RunningDrain], Lifecycle]
    _life: Lifecycle | None = field(default=None, init=False)
    _moving: bool = field(default=False, init=False)
    _stopping: bool = field(default=False, init=False)

    @property
    def phase(self) -> Phase:
        return self._life.phase if self._life else Phase.RESTING

    def status(self) -> DrainStatus:
        """How it fares now."""
        return DrainStatus(
            state=self.phase.value,
            received=self.buffer.received,
            delivered=self.buffer.delivered,
            dropped=self.buffer.dropped,
            buffered=self.buffer.buffered,
            last_success=self.outcome.last_success,
            last_error=self.outcome.last_error,
            last_error_at=self.outcome.last_error_at,
            next_attempt=self._life.next_attempt if self._life else None,
        )

    def start(self) -> None:
        """Send what the buffer gets from now on."""
        self.buffer.wake = self._live
        self.buffer.wake_at = 1

    def _live(self) -> None:
        self._life = self.make_life(self)
        self._life.start()

    def refused(self, why: Failure) -> None:
        """A connection could not be made; some reasons are the channel's business."""
        if isinstance(why.value, CertificateRejected):
            self.notices.certificate_rejected(str(why.value), self.destination)
        elif isinstance(why.value, DestinationDenied):
            self.notices.destination_denied(self.destination)

    def move(self, drain: Drain, destination: Destination) -> None:
        """
        Send elsewhere from now on. What is just being sent is settled with the old receiver first;
        everything else that is buffered is the new one's.
        """
        self.drain = drain
        self.destination = destination
        if not (self._moving or self._stopping):
            self._moving = True
            moved = Deferred.fromCoroutine(self._move())
            moved.addErrback(lambda bug: _log.failure("bug: a drain cannot move", failure=bug))

    async def _move(self) -> None:
        if self._life is not None:
            await self._life.retire()
        if not self._stopping:
            self._moving = False
            if self._life is not None:
                self._live()

    def stop(self, within_s: float) -> Deferred[int]:
        """
        Send what is buffered, for so long at most; then be gone.

        :return: how many messages could not be sent any more.
        """
        self._stopping = True
        return Deferred.fromCoroutine(self._stop(within_s))

    async def _stop(self, within_s: float) -> int:
        deadline = self.clock.seconds() + within_s
        if self._life is None:
            return 0
        await self._life.stop(within_s)
        if self._moving:
            # What is left is the new receiver's, whom nobody has asked yet.
            self._live()
            await self._life.stop(max(0.0, deadline - self.clock.seconds()))
        return self.buffer.clear()
