# SPDX-License-Identifier: Apache-2.0

"""
The memory for pasts that readers have not read yet: one bound for all, one copy for each channel.

Readers of one channel mostly wait for the same messages, so each message is kept and counted once.
If all pasts exceed their bound, the channel with the most bytes gives way: of its readers, the one
that has read nothing for the longest time loses its past, and is told so (L11).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import define, field
from twisted.logger import Logger

from logplex.live import Live
from logplex.metrics import Counters
from logplex.settings import Limits
from logplex.tails.join import Message

_log = Logger()

#: The memory that a message takes beside its text.
MESSAGE_BYTES = 200
#: The memory that each further reader takes for a message.
REFERENCE_BYTES = 8
_LOG_INTERVAL_S = 60.0


class Holder(Protocol):
    """A reader that has not read its whole past yet."""

    def lose_past(self) -> None:
        """Drop the rest of the past, and call :meth:`Pasts.release`."""


@define(eq=False, repr=False)
class _Shared:
    """A message, and the number of readers that wait for it."""

    message: Message
    readers: int = 1


@define(eq=False, repr=False)
class _ChannelPasts:
    """
    The pasts of one channel's readers.

    :ivar holders: the waiting readers; first the one that has read nothing for the longest time.
    :ivar shared: the messages that they wait for, by their numbers.
    """

    used_bytes: int = 0
    holders: dict[Holder, None] = field(factory=dict)
    shared: dict[int | None, _Shared] = field(factory=dict)

    def take(self, message: Message) -> tuple[Message, int]:
        """Return the copy of a message to keep for a reader, and the bytes that this adds."""
        number, text = message
        known = self.shared.get(number)
        if known is None:
            if number is not None:
                self.shared[number] = _Shared(message)
        elif known.message[1] == text:
            known.readers += 1
            return known.message, REFERENCE_BYTES
        # It is alone: it has no number, or the spool has given its number twice.
        return message, len(text) + MESSAGE_BYTES

    def leave(self, message: Message) -> int:
        """Release a message of a reader; return the bytes that this frees."""
        number, text = message
        known = self.shared.get(number)
        if known is not None and known.message is message:
            known.readers -= 1
            if known.readers:
                return REFERENCE_BYTES
            del self.shared[number]
        return len(text) + MESSAGE_BYTES


@define(eq=False, repr=False)
class Pasts:
    """
    Account for the memory of the pasts of all readers of a node.

    :param now: returns the seconds of a clock.
    :ivar used_bytes: the bytes of all pasts; above the bound only if a single reader is.
    """

    limits: Live[Limits]
    counters: Counters
    now: Callable[[], float]
    used_bytes: int = 0
    _channels: dict[str, _ChannelPasts] = field(factory=dict)
    _logged_s: float = float("-inf")

    def hold(self, channel_id: str, holder: Holder, messages: Sequence[Message]) -> list[Message]:
        """
        Keep a reader's past until it is released. Other readers may lose their pasts to make room.

        :return: the messages; those that other readers wait for too are the same objects.
        """
        if not messages:
            return []
        channel = self._channels.setdefault(channel_id, _ChannelPasts())
        channel.holders[holder] = None
        taken = [channel.take(message) for message in messages]
        self._charge(channel, sum([size_bytes for _, size_bytes in taken]))
        self._make_room(holder)
        return [message for message, _ in taken]

    def release(
        self, channel_id: str, holder: Holder, messages: Sequence[Message], *, is_last: bool
    ) -> None:
        """
        Release messages of a reader's past.

        :param is_last: true if nothing is left of the past; false if the reader has just read.
        """
        channel = self._channels.get(channel_id)
        if channel is None or holder not in channel.holders:
            return
        self._charge(channel, -sum([channel.leave(message) for message in messages]))
        del channel.holders[holder]
        if not is_last:
            channel.holders[holder] = None
        elif not channel.holders:
            del self._channels[channel_id]

    def _charge(self, channel: _ChannelPasts, size_bytes: int) -> None:
        channel.used_bytes += size_bytes
        self.used_bytes += size_bytes

    def _make_room(self, newcomer: Holder) -> None:
        while self.used_bytes > self.limits.now.tail_history_bytes:
            victim = self._victim(newcomer)
            if victim is None:
                return
            channel_id, holder = victim
            self.counters.tail_histories_dropped += 1
            now = self.now()
            if now - self._logged_s >= _LOG_INTERVAL_S:
                self._logged_s = now
                _log.warn(
                    "readers of channel {channel} do not read: the history that waits for them"
                    " is dropped ([limits] tail_history_bytes)",
                    channel=channel_id,
                )
            holder.lose_past()

    def _victim(self, newcomer: Holder) -> tuple[str, Holder] | None:
        """Return the reader that loses its past next, and its channel."""
        found = [
            (channel.used_bytes, channel_id, holder)
            for channel_id, channel in self._channels.items()
            for holder in [next((each for each in channel.holders if each is not newcomer), None)]
            if holder is not None
        ]
        if not found:
            return None
        _, channel_id, holder = max(found, key=lambda each: each[0])
        return channel_id, holder
