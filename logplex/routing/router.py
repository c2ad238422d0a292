# SPDX-License-Identifier: Apache-2.0

"""
The router: it gives the frames of a batch to the outlets of their channels.

Calls are synchronous: on return every message is in a buffer, in the spool, or counted as lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from logplex.clock import wall_s
from logplex.interfaces import ISpool, Take
from logplex.live import Live
from logplex.metrics import Counters
from logplex.model.rods import Rods
from logplex.routing.activity import ChannelActivity
from logplex.routing.firehose import Firehose
from logplex.routing.registry import Registry, Stream
from logplex.settings import Limits
from logplex.syslog.inner import cook_frames, sort_frames, token_of
from logplex.syslog.message import has_head

_log = Logger()


#: The part of an unknown token that the log may show: enough to find the sender, too little to
#: write with.
_SHOWN_TOKEN_BYTES = 10


#: The counts that cost time for every message go on for this long after the last reader's request.
WATCH_S = 15.0

#: The reason for which a channel's readers are not shown a message.
UNREADABLE = "unreadable"


@define(eq=False, repr=False)
class Router:
    """
    The router that gives the frames of the inputs, and notices of Logplex, to their channels.

    :ivar take: writes messages to the journal; ``None`` if the node has no journal.
    :ivar limits: the limits, with the shortest time between two log lines about unknown tokens.
    """

    registry: Registry
    spool: ISpool
    rods: Live[Rods]
    counters: Counters
    clock: IReactorTime = field(kw_only=True)
    limits: Live[Limits] = field(kw_only=True)
    firehose: Firehose = field(kw_only=True)
    take: Take | None = field(default=None, kw_only=True)
    _unknown_unlogged: int = field(default=0, init=False)
    _unknown_logged_at: float | None = field(default=None, init=False)
    _watched_until: float = field(default=0.0, init=False)

    def route(self, frames: Sequence[bytes], unreadable: int = 0, journaled: bool = False) -> int:
        """
        Give frames to the channels of the tokens in their fourth fields.

        :param unreadable: the number of frames without a head of RFC 5424. They are counted
            already.
        :param journaled: true if the messages are already in the journal; see :meth:`promise`.
        :return: the number of frames whose token is known.
        """
        counters = self.counters
        counters.received += len(frames)
        touched: list[Stream] = []
        now = wall_s(self.clock)
        is_watched = self._is_watched
        unknown, short = sort_frames(frames, self.registry.routes, touched, now)
        counters.processed += len(frames) - len(unknown)
        copying = self.firehose.runs
        # This runs once per channel in the chunk, for hundreds of channels. Each call here and in
        # _spread costs 1 % in the benchmark's scenario with the most channels.
        for stream in touched:
            # Copy the list: the routes of all the channel's tokens refer to it.
            messages = stream.pending.copy()
            stream.pending.clear()
            activity = stream.activity
            activity.received += len(messages)
            activity.received_at = now
            self._spread(stream, messages, journaled=journaled)
            if copying:
                self._copy(stream, messages, None)
            if is_watched:
                activity.measure(messages)
            if unreadable:
                activity.drop(UNREADABLE, sum(not has_head(each) for each in messages))
        for stream in short:
            counters.unreadable += 1
            stream.activity.drop(UNREADABLE, 1)
        if unknown:
            self._count_unknown_frames(unknown)
        return len(frames) - len(unknown)

    def route_as(
        self,
        token_id: bytes,
        frames: Sequence[bytes],
        unreadable: int = 0,
        journaled: bool = False,
    ) -> None:
        """
        Give frames to the channel of one token. The fourth fields of the frames are ignored.

        :param unreadable: the number of frames without a head of RFC 5424. They are counted
            already.
        :param journaled: true if the messages are already in the journal; see :meth:`promise`.
        """
        self.counters.received += len(frames)
        route = self.registry.routes.get(token_id)
        if route is None:
            self._count_unknown(token_id, len(frames))
        elif frames:
            name, _, stream = route
            now = wall_s(self.clock)
            messages, short = cook_frames(frames, token_id, name, now)
            self.counters.processed += len(messages)
            self.counters.unreadable += short
            activity = stream.activity
            activity.received += len(messages)
            activity.received_at = now
            activity.drop(UNREADABLE, unreadable + short)
            self._spread(stream, messages, journaled=journaled)
            if self.firehose.runs:
                self._copy(stream, messages, name)
            if self._is_watched:
                activity.measure(messages)

    def promise(
        self, frames: Sequence[bytes], token_id: bytes | None = None, frame: bytes | None = None
    ) -> Deferred[None] | None:
        """
        Write the messages of a request to the journal, if their channels use the journal.

        :param token_id: the token to whose channel all frames belong; ``None``: each frame has its
            own.
        :param frame: the digest of the request, which the journal remembers.
        :return: ``None`` if the caller need not wait. Else a Deferred that fires when the messages
            would survive a loss of power; then the caller must call :meth:`route` with
            ``journaled``. The Deferred fails as :data:`~logplex.interfaces.Take` does if no message
            was written.
            :data:`~logplex.interfaces.Take` does if nothing was kept.
        """
        if not self.registry.journaled or self.take is None:
            return None
        pieces: dict[str, list[bytes]] = {}
        now = wall_s(self.clock)
        if token_id is None:
            touched: list[Stream] = []
            sort_frames(frames, self.registry.routes, touched, now)
            for stream in touched:
                if stream.journal is not None:
                    pieces[stream.id] = stream.pending.copy()
                stream.pending.clear()
        else:
            route = self.registry.routes.get(token_id)
            if route is not None and route[2].journal is not None:
                pieces[route[2].id] = cook_frames(frames, token_id, route[0], now)[0]
        return self.take(pieces, frame) if pieces else None

    def tell(self, channel_id: str, message: bytes, except_for: object | None = None) -> None:
        """See :data:`logplex.interfaces.Tell`. A message for an unknown channel is dropped."""
        stream = self.registry.stream(channel_id)
        if stream:
            self._spread(stream, [message], except_for)

    def activity(self, channel_id: str) -> ChannelActivity | None:
        """Return the counts of a channel; ``None`` if the channel is unknown."""
        stream = self.registry.stream(channel_id)
        return stream.activity if stream else None

    def activities(self) -> Iterator[tuple[str, ChannelActivity]]:
        """Yield the id and the counts of every channel."""
        return ((stream.id, stream.activity) for stream in self.registry.streams())

    def watch(self) -> None:
        """
        Count the bytes and sources of messages too, for :data:`WATCH_S` seconds. This costs time
        for every message.
        """
        self._watched_until = self.clock.seconds() + WATCH_S

    @property
    def _is_watched(self) -> bool:
        return self._watched_until > 0 and self.clock.seconds() < self._watched_until

    def _spread(
        self,
        stream: Stream,
        messages: list[bytes],
        except_for: object | None = None,
        journaled: bool = False,
    ) -> None:
        """
        Give messages to the outlets and the spool of a channel. An error in one outlet does not
        affect the others.
        """
        rods = self.rods.now
        if not rods.deny_drain_forwarding:
            for outlet in stream.outlets:
                if outlet is not except_for:
                    try:
                        outlet.push(messages)
                    except Exception:
                        _log.failure(
                            "bug: an outlet failed and lost {count} messages", count=len(messages)
                        )
        if stream.journal is not None and not journaled:
            try:
                stream.journal.push(messages)
            except Exception:
                _log.failure(
                    "bug: the journal failed and lost {count} messages", count=len(messages)
                )
        try:
            self.spool.append(stream.id, messages, stream.keep and not rods.deny_redis_buffers)
        except Exception:
            _log.failure("bug: the spool failed and lost {count} messages", count=len(messages))

    def _copy(self, stream: Stream, messages: list[bytes], name: bytes | None) -> None:
        for target, copied in self.firehose.copies(stream, messages, name):
            self._spread(target, copied)

    def _count_unknown_frames(self, frames: Sequence[bytes]) -> None:
        for frame in frames:
            self._count_unknown(token_of(frame), 1)

    def _count_unknown(self, token_id: bytes, messages: int) -> None:
        if self.registry.token(token_id.decode("latin-1")):
            self.counters.unknown_channel += messages
            return
        self.counters.unknown_token += messages
        self._unknown_unlogged += messages
        now = self.clock.seconds()
        last = self._unknown_logged_at
        if last is None or now - last >= self.limits.now.unknown_token_log_interval_s:
            _log.warn(
                "dropped {messages} messages whose token is unknown; the last token begins {token}",
                messages=self._unknown_unlogged,
                token=ascii(token_id[:_SHOWN_TOKEN_BYTES].decode("latin-1")),
            )
            self._unknown_logged_at = now
            self._unknown_unlogged = 0
