# SPDX-License-Identifier: Apache-2.0

"""
The memory for recent messages that readers have not read yet, with one bound for all readers.

Readers of one channel mostly wait for the same messages, so each message is kept and counted once.
If the recent messages of all readers exceed the bound, one reader of the channel with the most
bytes loses its messages: the reader that has read nothing for the longest time. A notice (L11)
tells the reader.
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
    """A reader that has not read all its recent messages yet."""

    def lose_past(self) -> None:
        """Drop the recent messages that the reader has not read, and call :meth:`Pasts.release`."""


@define(eq=False, repr=False)
class _Shared:
    """A message, and the number of readers that wait for the message."""

    message: Message
    readers: int = 1


@define(eq=False, repr=False)
class _ChannelPasts:
    """
    The recent messages that one channel's readers have not read yet.

    :ivar holders: the waiting readers; the first reader is the one that has read nothing for the
        longest time.
    :ivar shared: the messages that the readers wait for, by message number.
    """

    used_bytes: int = 0
    holders: dict[Holder, None] = field(factory=dict)
    shared: dict[int | None, _Shared] = field(factory=dict)

    def take(self, message: Message) -> tuple[Message, int]:
        """
        Keep a message for one more reader. Return the shared copy of the message, and the number of
        bytes of additional memory.
        """
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
        """
        Release a message that one reader has read. Return the number of bytes that become free.
        """
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
    Bound the memory for the recent messages that the readers of a node have not read yet.

    :param now: returns the seconds of a clock.
    :ivar used_bytes: the memory of all waiting messages; exceeds the bound only if a single reader
        needs more than the bound.
    """

    limits: Live[Limits]
    counters: Counters
    now: Callable[[], float]
    used_bytes: int = 0
    _channels: dict[str, _ChannelPasts] = field(factory=dict)
    _logged_s: float = float("-inf")

    def hold(self, channel_id: str, holder: Holder, messages: Sequence[Message]) -> list[Message]:
        """
        Keep a reader's recent messages until they are released. Drop the messages of other readers
        if the memory is full.

        :return: the messages. A message that other readers wait for is the same object for all
            readers.
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
        Release recent messages that a reader has read or lost.

        :param is_last: true if the reader waits for no other message; false if the reader waits for
            more messages.
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
        """
        Return the reader that must lose its recent messages next, and the channel of the reader.
        """
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
