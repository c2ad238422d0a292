# SPDX-License-Identifier: Apache-2.0

"""
The detection of drains that send the messages of a channel back into the same channel (PROTOCOL
§4).
"""

from __future__ import annotations

from collections.abc import Collection

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from logplex.clock import wall_s
from logplex.interfaces import Tell
from logplex.routing.registry import Registry
from logplex.syslog.notices import loop_message

#: A drain that was seen to write into a channel is taken to do so for this long.
SEEN_S = 600.0
#: The most channels of a circle. A longer circle is not found.
MAX_CHANNELS = 100
#: The shortest time between two searches for what can be forgotten.
FORGET_INTERVAL_S = 10.0


@define(eq=False, repr=False)
class Loops:
    """
    The detection of loops: drains that send messages into their own channel, or into a channel
    whose drains lead back to their own channel.
    """

    registry: Registry
    tell: Tell
    clock: IReactorTime
    # By drain id: the channels that the drain was seen to write into, and the time.
    _seen: dict[int, tuple[frozenset[str], float]] = field(factory=dict, init=False)
    # By drain id: the URL of a drain whose channel has been told.
    _told: dict[int, str | None] = field(factory=dict, init=False)
    _forgot_at: float = field(default=0.0, init=False)

    def closes(self, drain_token: str, channel_ids: Collection[str]) -> bool:
        """
        Return true if the request of a drain closes a loop. The channel of the drain is told once.

        :param drain_token: the header ``Logplex-Drain-Token`` of the request.
        :param channel_ids: the channels into which the request writes messages.
        """
        drain = self.registry.drain_of_token(drain_token)
        if drain is None:
            return False
        self._forget()
        if drain.channel_id not in self._reached(channel_ids):
            self._seen[drain.id] = frozenset(channel_ids), self.clock.seconds()
            return False
        if self._told.get(drain.id, "") != drain.url:
            self._told[drain.id] = drain.url
            message = loop_message(wall_s(self.clock), drain.token.encode())
            self.tell(drain.channel_id, message, None)
        return True

    def _reached(self, channel_ids: Collection[str]) -> set[str]:
        """Return the given channels, and all channels into which drains carry their messages."""
        reached = set(channel_ids)
        waiting = list(channel_ids)
        while waiting and len(reached) < MAX_CHANNELS:
            for drain in self.registry.drains_of(waiting.pop()):
                further = self._seen.get(drain.id, (frozenset(), 0.0))[0] - reached
                reached |= further
                waiting += further
        return reached

    def _forget(self) -> None:
        """Forget observations that are old, and drains that were deleted."""
        now = self.clock.seconds()
        if now - self._forgot_at < FORGET_INTERVAL_S:
            return
        self._forgot_at = now
        for drain_id, (_, seen_at) in list(self._seen.items()):
            if now - seen_at >= SEEN_S or self.registry.drain(drain_id) is None:
                del self._seen[drain_id]
        for drain_id in list(self._told):
            if self.registry.drain(drain_id) is None:
                del self._told[drain_id]
