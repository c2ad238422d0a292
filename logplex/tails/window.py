# SPDX-License-Identifier: Apache-2.0

"""
The newest entries of a group, kept once for all its tails that are behind.

Tails with equal filters see the same entries in the same order. So one bounded list serves all of
them, instead of a bounded buffer for each. A tail that falls further behind than the list reaches
loses its oldest waiting entries.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define


@define(eq=False, repr=False)
class Entry:
    """
    A message that a reader is shown, or a notice of Logplex itself.

    :ivar number: the message's number; ``None`` if it has none.
    :ivar message: the cooked message until it is formatted; then ``None``.
    :ivar text: the bytes that readers get; empty until it is formatted.
    :ivar is_message: false for a notice: a reader that misses it has lost no message.
    :ivar size_bytes: the bytes that count for the bound of the window.
    """

    number: int | None
    message: bytes | None
    text: bytes
    is_message: bool
    size_bytes: int

    @classmethod
    def of(cls, number: int | None, message: bytes) -> Entry:
        """Return an entry of a message that is formatted when it is first read."""
        return cls(number, message, b"", True, len(message))

    @classmethod
    def formatted(cls, number: int | None, text: bytes) -> Entry:
        """Return an entry of a formatted message."""
        return cls(number, None, text, True, len(text))

    @classmethod
    def notice(cls, text: bytes) -> Entry:
        """Return an entry of a formatted notice."""
        return cls(None, None, text, False, len(text))


class Window:
    """
    Entries by position. Positions grow, and none is used twice.

    :meth:`trim` enforces the bounds. Between two calls everything is kept, so that a tail can read
        a large block even if it exceeds the bounds.

    :ivar start: the position of the oldest entry that is kept.
    :ivar end: the position of the next new entry.
    """

    __slots__ = ("_bytes", "_entries", "end", "start")

    def __init__(self) -> None:
        self.start = 0
        self.end = 0
        self._entries: list[Entry] = []
        self._bytes = 0

    def append(self, entries: Sequence[Entry]) -> None:
        """Add entries at the end."""
        self._entries.extend(entries)
        self.end += len(entries)
        self._bytes += sum([entry.size_bytes for entry in entries])

    def skip(self, count: int) -> None:
        """
        Skip the positions of entries that every tail has read already. The window must be empty.
        """
        self.end += count
        self.start = self.end

    def clear(self) -> None:
        """Drop all entries, because no tail is behind any more."""
        self._entries.clear()
        self._bytes = 0
        self.start = self.end

    def trim(self, max_entries: int, max_bytes: int) -> list[Entry]:
        """
        Remove the oldest entries beyond these bounds, but never the newest one.

        :return: the removed entries, the oldest first.
        """
        excess = max(0, len(self._entries) - max_entries)
        self._bytes -= sum([entry.size_bytes for entry in self._entries[:excess]])
        while self._bytes > max_bytes and excess < len(self._entries) - 1:
            self._bytes -= self._entries[excess].size_bytes
            excess += 1
        pushed_out = self._entries[:excess]
        del self._entries[:excess]
        self.start += excess
        return pushed_out

    def read(self, position: int, max_bytes: int) -> list[Entry]:
        """
        Return the entries from a position on, up to about ``max_bytes``.

        The first entry is returned whatever its size. At the end there are none.
        """
        begin = end = position - self.start
        size_bytes = 0
        while end < len(self._entries) and size_bytes < max_bytes:
            size_bytes += self._entries[end].size_bytes
            end += 1
        return self._entries[begin:end]


@define(eq=False, repr=False)
class Place:
    """
    The place of one tail in the window of its group.

    :ivar position: the position of the next entry that the tail is to be shown.
    :ivar seen: messages up to this number are not new to the tail; 0: all are new.
    :ivar lost: the number of messages that the tail has lost since it was last told.
    :ivar lost_since: the time of the first such loss, in seconds since the epoch.
    """

    position: int = 0
    seen: int = 0
    lost: int = 0
    lost_since: float = 0.0

    def shows(self, entry: Entry) -> bool:
        """Return whether the entry is new to the tail."""
        return entry.number is None or entry.number > self.seen

    def lose(self, count: int, now: float) -> None:
        """Count messages that the tail has lost."""
        if count and not self.lost:
            self.lost_since = now
        self.lost += count

    def push(self, start: int, pushed_out: Sequence[Entry], now: float) -> int:
        """
        Move to the start of the window, which has removed entries that the tail had not read.

        :param start: the position of the oldest entry that is left.
        :return: the number of messages that the tail has lost.
        """
        missed = start - self.position
        if missed <= 0:
            return 0
        self.position = start
        lost = sum(entry.is_message and self.shows(entry) for entry in pushed_out[-missed:])
        self.lose(lost, now)
        return lost
