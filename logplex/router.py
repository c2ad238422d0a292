"""
A batch of frames in; each channel's outlets get that channel's messages.

Synchronous: when a call returns, every message is in a buffer, in the spool, or counted as lost.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define
from twisted.logger import Logger

from logplex.interfaces import ISpool
from logplex.metrics import Counters
from logplex.registry import Registry, Stream
from logplex.rods import Rods
from logplex.syslog.inner import cook_frames, sort_frames

_log = Logger()


@define(eq=False)
class Router:
    """Where inputs bring frames, and where notices enter a channel's stream."""

    registry: Registry
    spool: ISpool
    rods: Rods
    counters: Counters

    def route(self, frames: Sequence[bytes]) -> None:
        """Route frames whose fourth field says the token."""
        self.counters.received += len(frames)
        touched: list[Stream] = []
        strangers = sort_frames(frames, self.registry.routes, touched)
        for stream in touched:
            messages = stream.pending.copy()
            stream.pending.clear()
            self._deliver(stream, messages)
        if strangers:
            self._count_strangers(strangers)

    def route_as(self, token_id: bytes, frames: Sequence[bytes]) -> None:
        """Route frames into the channel of this token, whatever their fourth field is."""
        self.counters.received += len(frames)
        route = self.registry.routes.get(token_id)
        if route is None:
            self.counters.unknown_token += len(frames)
        elif frames:
            name, _, stream = route
            self._deliver(stream, cook_frames(frames, token_id, name))

    def tell(self, channel_id: str, message: bytes, except_for: object | None = None) -> None:
        """See :data:`logplex.interfaces.Tell`. Unknown channels are told nothing."""
        stream = self.registry.stream(channel_id)
        if stream:
            self._spread(stream, [message], except_for)

    def _deliver(self, stream: Stream, messages: list[bytes]) -> None:
        self.counters.processed += len(messages)
        stream.received += len(messages)
        self._spread(stream, messages, None)

    def _spread(self, stream: Stream, messages: list[bytes], except_for: object | None) -> None:
        if not self.rods.deny_drain_forwarding:
            for outlet in stream.outlets:
                if outlet is not except_for:
                    outlet.push(messages)
        self.spool.append(stream.id, messages, stream.keep and not self.rods.deny_redis_buffers)

    def _count_strangers(self, frames: Sequence[bytes]) -> None:
        self.counters.unknown_token += len(frames)
