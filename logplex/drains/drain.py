# SPDX-License-Identifier: Apache-2.0

"""
One drain while it runs, and the notices about it in its channel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from attrs import define, field
from prometheus_client.core import CounterMetricFamily
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from logplex.clock import wall_s
from logplex.drains.delivery.buffer import NEVER, Buffer
from logplex.drains.delivery.courier import Loss, Outcome
from logplex.drains.delivery.durable import DurableBuffer
from logplex.drains.delivery.lifecycle import Lifecycle
from logplex.drains.delivery.states import Phase
from logplex.drains.network.errors import CertificateRejected, DestinationDenied
from logplex.interfaces import DrainStatus, IOutlet, Tell
from logplex.live import Live
from logplex.metrics import Sample
from logplex.model.destination import Destination
from logplex.model.values import Drain
from logplex.settings import Limits
from logplex.syslog.notices import denied_message, l10_message, l14_message, l31_message

#: Losses are gathered for this time before the first notice, so that it counts more than the first.
GATHER_S = 1.0

#: The shortest time between two notices why a drain does not deliver.
L31_INTERVAL_S = 600.0


@define(eq=False, repr=False)
class ChannelNotices:
    """
    Notices to a channel about one of its drains.

    Each kind of notice is sent at most once per ``notice_interval_s``, and the notice L31 once per
    :data:`L31_INTERVAL_S`.

    :ivar about: the outlet of the drain, which does not get these notices.
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
    _failure: tuple[str, float] | None = field(default=None, init=False)
    _next_l31: float = field(default=0.0, init=False)
    _next_l14: float = field(default=0.0, init=False)
    _next_denied: float = field(default=0.0, init=False)

    def lost(self, count: int) -> None:
        """Count lost messages of the drain. A notice tells the channel about them soon."""
        now = self.clock.seconds()
        if self._loss is not None:
            self._loss = Loss(self._loss.count + count, self._loss.since)
            return
        self._loss = Loss(count, wall_s(self.clock))
        self._timer = self.clock.callLater(max(GATHER_S, self._next_l10 - now), self.flush)

    def flush(self) -> None:
        """Send the channel a notice about all lost messages now."""
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        loss, self._loss = self._loss, None
        if loss is not None:
            now = self.clock.seconds()
            self._next_l10 = now + self.limits.now.notice_interval_s
            token = self.drain_token.encode("ascii", "replace")
            self._tell(l10_message(wall_s(self.clock), token, loss.count, loss.since))

    def failed(self, reason: str, since: float) -> None:
        """
        Tell the channel why the drain does not deliver, unless the channel already knows this
        reason.

        :param since: the time of the first failure after the last success.
        """
        now = self.clock.seconds()
        if now >= self._next_l31 and (reason, since) != self._failure:
            self._failure = (reason, since)
            self._next_l31 = now + L31_INTERVAL_S
            token = self.drain_token.encode("ascii", "replace")
            self._tell(l31_message(wall_s(self.clock), token, reason, since))

    def certificate_rejected(self, reason: str, to: Destination) -> None:
        """Tell the channel that the certificate of the drain's receiver was rejected."""
        now = self.clock.seconds()
        if now >= self._next_l14:
            self._next_l14 = now + self.limits.now.notice_interval_s
            self._tell(l14_message(wall_s(self.clock), reason, to.scheme, to.host, to.port))

    def destination_denied(self, to: Destination) -> None:
        """Tell the channel that drains may not connect to the address of the receiver."""
        now = self.clock.seconds()
        if now >= self._next_denied:
            self._next_denied = now + self.limits.now.notice_interval_s
            self._tell(denied_message(wall_s(self.clock), to.scheme, to.host, to.port))

    def _tell(self, message: bytes) -> None:
        self.tell(self.channel_id, message, self.about)


@define(eq=False, repr=False)
class RunningDrain:
    """
    A drain that can send messages, because it has a destination.

    The drain's lifecycle is made when the first message arrives, because a lifecycle takes much
    memory, and most drains of a large node never get a message.

    :ivar drain: the drain's value in the registry.
    :ivar destination: the receiver of the messages. During a move it is already the new receiver.
    :ivar make_lifecycle: makes the lifecycle from the present ``drain`` and ``destination``.
    """

    drain: Drain
    destination: Destination
    buffer: Buffer | DurableBuffer
    outcome: Outcome
    notices: ChannelNotices
    make_lifecycle: Callable[[RunningDrain], Lifecycle]
    _lifecycle: Lifecycle | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.resume()

    def pause(self) -> None:
        """
        Hold back all messages until :meth:`resume` is called. The caller must call this before the
        first message.
        """
        self.buffer.wake_at = NEVER

    def resume(self) -> None:
        """Send the drain's messages from now on."""
        self.buffer.wake = self._wake
        self.buffer.wake_at = 1
        if self.buffer.messages:
            self._wake()

    @property
    def phase(self) -> Phase:
        return self._lifecycle.phase if self._lifecycle else Phase.RESTING

    def status(self) -> DrainStatus:
        """Return the present state and the counts of the drain."""
        status = DrainStatus(
            state=self.phase.value,
            received=self.buffer.received,
            delivered=self.buffer.delivered,
            dropped=self.buffer.dropped,
            buffered=self.buffer.buffered,
            buffered_beyond_bytes=self.buffer.overflow_bytes,
            guaranteed=0 if isinstance(self.buffer, DurableBuffer) else self.buffer.limit,
            oldest_buffered_s=self.buffer.oldest_s(),
            last_success=self.outcome.last_success,
            last_error=self.outcome.last_error,
            last_error_at=self.outcome.last_error_at,
            since=self.outcome.failing_since,
            next_attempt=self._lifecycle.next_attempt if self._lifecycle else None,
        )
        return self.buffer.lag(status) if isinstance(self.buffer, DurableBuffer) else status

    def samples(self) -> Iterator[Sample]:
        """Yield the counts of the drain, for metrics."""
        buffer = self.buffer
        labels = {"channel": self.drain.channel_id, "drain": str(self.drain.id)}
        for name, help, value in (
            ("received", "Messages for this drain", buffer.received),
            ("delivered", "Messages that its receiver took", buffer.delivered),
            ("dropped", "Messages that it will not deliver", buffer.dropped),
        ):
            yield Sample(f"logplex_drain_{name}", help, value, labels, CounterMetricFamily)
        yield Sample("logplex_drain_buffered", "Messages that wait", buffer.buffered, labels)
        if isinstance(buffer, DurableBuffer):
            age_s, refused = buffer.oldest_s() or 0.0, len(buffer.backlog.asides)
            lag_bytes = buffer.backlog.bytes
            yield Sample("logplex_drain_lag_bytes", "Bytes of its backlog", lag_bytes, labels)
            yield Sample("logplex_drain_lag_seconds", "Age of its oldest message", age_s, labels)
            yield Sample("logplex_drain_set_aside", "Refused, to be tried again", refused, labels)

    def refused(self, why: Failure) -> None:
        """
        Tell the channel why the drain could not connect, if the owner of the drain can remove the
        cause.
        """
        if isinstance(why.value, CertificateRejected):
            self.notices.certificate_rejected(str(why.value), self.destination)
        elif isinstance(why.value, DestinationDenied):
            self.notices.destination_denied(self.destination)

    def move(self, drain: Drain, destination: Destination) -> None:
        """
        Move the drain to another receiver.

        The old receiver still gets the messages that are being sent. The new receiver gets all
        other messages of the buffer.
        """
        self.drain = drain
        self.destination = destination
        if self._lifecycle:
            self._lifecycle.move()

    def stop(self, within_s: float) -> Deferred[int]:
        """
        Send the messages of the buffer, then end the drain. End in any case after some seconds.

        :return: fires with the number of messages that were not sent.
        :param within_s: the number of seconds.
        """
        if isinstance(self.buffer, DurableBuffer):
            # Messages that are not being sent stay in the journal.
            self.buffer.clear()
        return self._lifecycle.stop(within_s) if self._lifecycle else succeed(0)

    def _wake(self) -> None:
        if self._lifecycle is None:
            self._lifecycle = self.make_lifecycle(self)
        self._lifecycle.offer()
