# SPDX-License-Identifier: Apache-2.0

"""
The embedded spool: the newest messages of every channel, in the memory of this process.

The hot path is :meth:`MemorySpool.append`: a few operations per call, none per message.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from logplex.interfaces import IFollower, ISpool, Recent
from logplex.metrics import Counters, Sample
from logplex.settings import Spool

_log = Logger()

#: What a message costs besides its bytes: the header of a ``bytes``, and a place in a list.
MESSAGE_OVERHEAD_BYTES = 41
#: What messages that are kept together cost besides, their share of the channel included.
PIECE_OVERHEAD_BYTES = 500
#: Messages of small batches are joined up to about this number.
_PIECE_MESSAGES = 64
_SWEEP_INTERVAL_S = 60.0


@define(eq=False, repr=False)
class _Piece:
    """Messages of one channel with consecutive numbers. They are dropped together."""

    first: int
    messages: list[bytes]
    size_bytes: int


@define(eq=False, repr=False)
class _Backlog:
    """The messages of one channel that the spool keeps: pieces in order, the newest last."""

    written_s: float
    pieces: list[_Piece] = field(factory=list)
    count: int = 0

    def add(self, first: int, messages: list[bytes]) -> int:
        """Keep more messages of the channel. Return the number of bytes that the messages take."""
        self.count += len(messages)
        size_bytes = sum(map(len, messages)) + MESSAGE_OVERHEAD_BYTES * len(messages)
        if self.pieces:
            piece = self.pieces[-1]
            held = len(piece.messages)
            if held + len(messages) <= _PIECE_MESSAGES and piece.first + held == first:
                piece.messages += messages
                piece.size_bytes += size_bytes
                return size_bytes
        size_bytes += PIECE_OVERHEAD_BYTES
        self.pieces.append(_Piece(first, messages.copy(), size_bytes))
        return size_bytes

    def drop_oldest(self) -> _Piece:
        piece = self.pieces.pop(0)
        self.count -= len(piece.messages)
        return piece

    def entries(self) -> Iterator[tuple[int, bytes]]:
        for piece in self.pieces:
            yield from enumerate(piece.messages, piece.first)


@implementer(ISpool)
class MemorySpool:
    """
    A spool in the memory of this process; see :class:`ISpool`. It is never away, and has every
    message at once.

    :param clock: gives the seconds since the epoch, at which message numbers begin and by which old
        channels expire.
    """

    name = "in memory"
    replacement = None

    def __init__(self, settings: Spool, clock: IReactorTime, counters: Counters) -> None:
        self._settings = settings
        self._clock = clock
        self._counters = counters
        #: What is kept, the channel written longest ago first.
        self._backlogs: OrderedDict[str, _Backlog] = OrderedDict()
        self._sequences: dict[str, int] = {}
        self._followers: dict[str, tuple[IFollower, ...]] = {}
        self._bytes = 0
        self._sweep_s = 0.0
        #: No sequence begins below this, even if the clock was set back.
        self._floor = 0

    def append(self, channel_id: str, messages: list[bytes], keep: bool = True) -> None:
        """See :class:`ISpool`."""
        if not messages:
            return
        now_s = self._clock.seconds()
        last = self._sequences.get(channel_id)
        if last is None:
            last = max(int(now_s * 1_000_000), self._floor)
        self._sequences[channel_id] = last + len(messages)
        if keep:
            self._keep(channel_id, last + 1, messages, now_s)
        followers = self._followers.get(channel_id)
        if followers is not None:
            for follower in followers:
                try:
                    follower.received(last + 1, messages)
                except Exception:
                    _log.failure("bug: {follower} failed on a message", follower=follower)

    def recent(self, channel_id: str) -> Deferred[Recent]:
        """See :class:`ISpool`."""
        self._expire(self._clock.seconds())
        backlog = self._backlogs.get(channel_id)
        entries: list[tuple[int | None, bytes]] = []
        if backlog is not None:
            entries.extend(backlog.entries())
        return succeed(
            Recent(self._sequences.get(channel_id, 0), entries[-self._settings.messages :])
        )

    def join(self, channel_id: str, follower: IFollower) -> Deferred[Recent]:
        """See :class:`ISpool`."""
        followers = self._followers.get(channel_id, ())
        if follower not in followers:
            self._followers[channel_id] = (*followers, follower)
        return self.recent(channel_id)

    def leave(self, channel_id: str, follower: IFollower) -> None:
        """See :class:`ISpool`."""
        left = tuple(each for each in self._followers.get(channel_id, ()) if each is not follower)
        if left:
            self._followers[channel_id] = left
        else:
            self._followers.pop(channel_id, None)

    def forget(self, channel_id: str) -> None:
        """See :class:`ISpool`."""
        self._floor = max(self._floor, self._sequences.pop(channel_id, 0))
        backlog = self._backlogs.pop(channel_id, None)
        if backlog is not None:
            self._bytes -= sum(piece.size_bytes for piece in backlog.pieces)

    def close(self) -> Deferred[None]:
        """See :class:`ISpool`."""
        self._backlogs.clear()
        self._followers.clear()
        self._bytes = 0
        return succeed(None)

    def samples(self) -> Iterable[Sample]:
        """See :class:`ISpool`."""
        yield Sample("logplex_spool_bytes", "Memory that kept messages take", self._bytes)
        yield Sample("logplex_spool_channels", "Channels with kept messages", len(self._backlogs))

    def troubles(self) -> list[str]:
        """See :class:`ISpool`. Return nothing, because memory does not fail."""
        return []

    def _keep(self, channel_id: str, first: int, messages: list[bytes], now_s: float) -> None:
        if now_s >= self._sweep_s:
            self._expire(now_s)
        backlog = self._backlogs.get(channel_id)
        if backlog is None:
            backlog = self._backlogs[channel_id] = _Backlog(now_s)
        else:
            backlog.written_s = now_s
            self._backlogs.move_to_end(channel_id)
        limit = self._settings.messages
        if len(messages) > limit:
            first += len(messages) - limit
            messages = messages[-limit:]
        self._bytes += backlog.add(first, messages)
        while backlog.count - len(backlog.pieces[0].messages) >= limit:
            self._bytes -= backlog.drop_oldest().size_bytes
        if self._bytes > self._settings.max_bytes:
            self._make_room()

    def _make_room(self) -> None:
        while self._bytes > self._settings.max_bytes:
            channel_id, backlog = next(iter(self._backlogs.items()))
            piece = backlog.drop_oldest()
            self._bytes -= piece.size_bytes
            self._counters.spool_evicted += len(piece.messages)
            if not backlog.pieces:
                del self._backlogs[channel_id]

    def _expire(self, now_s: float) -> None:
        """Drop the channels that have got no message during the time of retention."""
        self._sweep_s = now_s + _SWEEP_INTERVAL_S
        written_before_s = now_s - self._settings.retention_s
        while self._backlogs:
            channel_id, backlog = next(iter(self._backlogs.items()))
            if backlog.written_s > written_before_s:
                break
            del self._backlogs[channel_id]
            self._bytes -= sum(piece.size_bytes for piece in backlog.pieces)
