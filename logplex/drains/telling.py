"""
What a channel's readers are told of one of its drains, and how often.
"""

from __future__ import annotations

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from logplex.drains.delivery.buffer import Loss
from logplex.interfaces import IOutlet, Tell
from logplex.live import Live
from logplex.model.destination import Destination
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

    def close(self) -> None:
        """Tell nothing any more."""
        self._stop_timer()
        self._loss = None

    def _tell(self, message: bytes) -> None:
        self.tell(self.channel_id, message, self.about)

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
