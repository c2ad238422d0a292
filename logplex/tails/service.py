# SPDX-License-Identifier: Apache-2.0

"""
All tails of this node: the service starts tails, keeps them alive, and ends them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from itertools import count

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from logplex.clock import wall_s
from logplex.interfaces import IChannelObserver, IConfigStore, ISpool, Recent, StoreAway
from logplex.live import Live
from logplex.metrics import Counters, Sample
from logplex.model.session import Session
from logplex.model.values import NO_TAIL, Channel
from logplex.settings import Limits
from logplex.syslog.notices import l15_line, l20_line
from logplex.tails.channel import TailedChannel
from logplex.tails.group import OpenAnswer
from logplex.tails.join import past_of
from logplex.tails.leases import Leases
from logplex.tails.pasts import Pasts
from logplex.tails.tail import Tail
from logplex.tails.view import View

#: The longest time for which a stopping node waits for its readers.
STOP_TIMEOUT_S = 1.0
_LOOK_INTERVAL_S = 0.02
#: The log has a line about refused tails at most once in this time.
LOG_INTERVAL_S = 60.0

_log = Logger()


@define(eq=False, repr=False)
class Keepalive:
    """
    Write a keepalive to each reader of events after some seconds without messages.

    An ended tail is forgotten when its next keepalive is due.
    """

    clock: IReactorTime
    limits: Live[Limits]
    _due: list[tuple[float, int, Tail]] = field(factory=list)
    _serial: count[int] = field(factory=count)
    _timer: IDelayedCall | None = None

    def watch(self, tail: Tail) -> None:
        """Write keepalives to a tail until the tail ends."""
        self._push(tail, self.clock.seconds() + self.limits.now.tail_keepalive_s)
        if self._timer is None:
            self._set_timer()

    def stop(self) -> None:
        """Stop the keepalives of all tails."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _push(self, tail: Tail, due_s: float) -> None:
        heappush(self._due, (due_s, next(self._serial), tail))

    def _set_timer(self) -> None:
        wait_s = max(0.0, self._due[0][0] - self.clock.seconds())
        self._timer = self.clock.callLater(wait_s, self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = self.clock.seconds()
        while self._due and self._due[0][0] <= now:
            _, _, tail = heappop(self._due)
            if tail.is_over:
                continue
            if tail.written_s + self.limits.now.tail_keepalive_s > now:
                self._push(tail, tail.written_s + self.limits.now.tail_keepalive_s)
                continue
            tail.keep_alive()
            self._push(tail, now + self.limits.now.tail_keepalive_s)
        if self._due:
            self._set_timer()


@implementer(IChannelObserver)
@define(eq=False, repr=False)
class Tails:
    """
    Start the tails of this node. End tails when their channel is deleted or gets the flag
    ``no_tail``, when their session is ended, when an operator ends all tails, and when the node
    stops.
    """

    spool: ISpool
    store: IConfigStore
    clock: IReactorTime
    limits: Live[Limits]
    counters: Counters
    _channels: dict[str, TailedChannel] = field(factory=dict)
    _keepalive: Keepalive = field(init=False)
    _leases: Leases = field(init=False)
    _pasts: Pasts = field(init=False)
    _is_stopped: bool = False
    _refusal_logged_s: float = float("-inf")

    def __attrs_post_init__(self) -> None:
        self._keepalive = Keepalive(self.clock, self.limits)
        self._leases = Leases(self.store, self.clock, self.limits)
        self._pasts = Pasts(self.limits, self.counters, self.clock.seconds)

    def tail(self, session: Session, events: bool, answer: OpenAnswer) -> Tail:
        """
        Return a new tail, which has not begun. The client can disconnect before the tail begins.
        """
        view = View(session.source, session.ps, events)
        return Tail(
            channel_id=session.channel_id,
            view=view,
            answer=answer,
            limits=self.limits,
            counters=self.counters,
            pasts=self._pasts,
            clock=self.clock,
        )

    def has_room(self, channel_id: str) -> bool:
        """Return true if a channel may have one more tail. If not, count and log the refusal."""
        tailed = self._channels.get(channel_id)
        bound = self.limits.now.tails_per_channel
        if (0 if tailed is None else len(tailed)) < bound:
            return True
        self.counters.tails_refused += 1
        now = self.clock.seconds()
        if now - self._refusal_logged_s >= LOG_INTERVAL_S:
            self._refusal_logged_s = now
            _log.warn(
                "channel {channel_id} has {bound} tails, [limits] tails_per_channel: further ones"
                " are refused",
                channel_id=channel_id,
                bound=bound,
            )
        return False

    async def begin(
        self,
        tail: Tail,
        channel: Channel,
        session: Session,
        after: int | None,
        *,
        session_id: str,
        may_read: Callable[[], bool],
    ) -> None:
        """
        Read the recent messages of the channel, and start to write them to the client. Do nothing
        if the tail ended meanwhile.

        :param after: the number of the last message that the client has already seen, or ``None``.
        :param may_read: returns false if the session's owner may not read the channel any more.
        :raise StoreAway: the node is stopping.
        """
        if self._is_stopped:
            raise StoreAway("the node stops")
        overture = finale = b""
        tailed = None
        recent: Recent | None
        if session.tail and NO_TAIL not in channel.flags:
            tailed = self._tailed(channel.id)
            recent = await tailed.join(tail)
            if tailed.is_away:
                overture = l15_line(wall_s(self.clock))
        else:
            recent = await self.spool.recent(channel.id)
            if session.tail:
                finale = l20_line(wall_s(self.clock))
        if recent is None or tail.is_over:
            return
        if tailed is not None:
            tailed.enter(tail)
        now_us = int(wall_s(self.clock) * 1_000_000)
        past = past_of(recent, tail.view, session.num, after, now_us)
        self.counters.tail_unparsable += past.unparsable
        if not recent.complete:
            tail.answer.history_is_away()
        tail.begin(past, overture, finale)
        if tail.view.events and not tail.is_over:
            self._keepalive.watch(tail)
        if session.tail and not tail.is_over:
            self._leases.hold(session_id, channel.id, tail, may_read)

    # The ends of tails.

    def end_all(self) -> None:
        """End every tail. A client may open a new tail at once."""
        for tailed in list(self._channels.values()):
            tailed.end()

    async def stop(self) -> None:
        """
        Write the last messages, end every tail, and wait shortly so that the clients can read the
        messages.
        """
        self._is_stopped = True
        self._keepalive.stop()
        answers = [
            reader.answer for tailed in self._channels.values() for reader in tailed.readers()
        ]
        self.end_all()
        await self._leases.stop()
        deadline_s = self.clock.seconds() + STOP_TIMEOUT_S
        while self.clock.seconds() < deadline_s:
            if all(answer.is_closed for answer in answers):
                break
            await deferLater(self.clock, _LOOK_INTERVAL_S)

    def channel_put(self, channel: Channel) -> None:
        """End the tails of a changed channel if the channel has the flag ``no_tail``."""
        tailed = self._channels.get(channel.id)
        if tailed is not None and NO_TAIL in channel.flags:
            tailed.end(l20_line(wall_s(self.clock)))

    def channel_deleted(self, channel_id: str) -> None:
        """End the tails of a deleted channel."""
        tailed = self._channels.get(channel_id)
        if tailed is not None:
            tailed.end()

    def count(self) -> int:
        """Return the number of open tails."""
        return sum(map(len, self._channels.values()))

    def count_of(self, channel_id: str) -> int:
        """Return the number of open tails of one channel."""
        tailed = self._channels.get(channel_id)
        return len(tailed) if tailed is not None else 0

    def samples(self) -> Iterable[Sample]:
        """
        Yield metrics: the number of open tails, and the number of channels that have open tails.
        """
        yield Sample("logplex_tails", "Open tails", self.count())
        yield Sample("logplex_tail_channels", "Channels tailed on this node", len(self._channels))

    # Internals.

    def _tailed(self, channel_id: str) -> TailedChannel:
        tailed = self._channels.get(channel_id)
        if tailed is None:
            tailed = self._channels[channel_id] = TailedChannel(
                channel_id, self.spool, self.clock, self.limits, self.counters, self._unused
            )
        return tailed

    def _unused(self, tailed: TailedChannel) -> None:
        if self._channels.get(tailed.channel_id) is tailed:
            del self._channels[tailed.channel_id]
