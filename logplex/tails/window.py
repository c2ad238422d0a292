# SPDX-License-Identifier: Apache-2.0

"""
The newest entries of a group of tails, kept once for all tails of the group that have not read them
yet.

Tails with equal filters show the same entries in the same order. So all tails of a group share one
bounded list of entries, and no tail needs a buffer of its own. A tail that reads too slowly loses
the oldest entries that it has not read.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define


@define(eq=False, repr=False)
class Entry:
    """
    A message in a window, or a notice from Logplex itself.

    :ivar number: the message's number; ``None`` if it has none.
    :ivar message: the message as the spool keeps it; ``None`` after the entry is formatted.
    :ivar text: the formatted bytes that readers get; empty before the entry is formatted.
    :ivar is_message: false for a notice. A reader that misses a notice has lost no message.
    :ivar size_bytes: the size that the window's bound counts.
    """

    number: int | None
    message: bytes | None
    text: bytes
    is_message: bool
    size_bytes: int

    @classmethod
    def of(cls, number: int | None, message: bytes) -> Entry:
        """Return an entry for a message. The message is formatted when the entry is first read."""
        return cls(number, message, b"", True, len(message))

    @classmethod
    def formatted(cls, number: int | None, text: bytes) -> Entry:
        """Return an entry for a message that is already formatted."""
        return cls(number, None, text, True, len(text))

    @classmethod
    def notice(cls, text: bytes) -> Entry:
        """Return an entry for a notice that is already formatted."""
        return cls(None, None, text, False, len(text))


class Window:
    """
    The entries that tails have not read yet, each at a position. Positions only grow, and a
    position is never used twice.

    Only :meth:`trim` enforces the bounds. Before the next call of :meth:`trim` the window keeps all
    entries, so that a tail can read a block that is larger than the bounds.

    :ivar start: the position of the oldest entry that is kept.
    :ivar end: the position that the next new entry will get.
    """

    __slots__ = ("_bytes", "_entries", "end", "start")

    def __init__(self) -> None:
        self.start = 0
        self.end = 0
        self._entries: list[Entry] = []
        self._bytes = 0

    def append(self, entries: Sequence[Entry]) -> None:
        """Add entries at the end of the window."""
        self._entries.extend(entries)
        self.end += len(entries)
        self._bytes += sum([entry.size_bytes for entry in entries])

    def skip(self, count: int) -> None:
        """
        Skip the positions of ``count`` entries that every tail has already read. The window must be
        empty.
        """
        self.end += count
        self.start = self.end

    def clear(self) -> None:
        """Remove all entries, because every tail has read them."""
        self._entries.clear()
        self._bytes = 0
        self.start = self.end

    def trim(self, max_entries: int, max_bytes: int) -> list[Entry]:
        """
        Remove the oldest entries until the window is within the bounds. Never remove the newest
        entry.

        :return: the removed entries, the oldest entry first.
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
        Return entries, beginning with the entry at a position, until their size reaches
        ``max_bytes``.

        The first entry is returned even if it is larger. The result is empty if the position is the
        end of the window.
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
    :ivar seen: the tail has already seen the messages up to this number; 0 if all messages are new.
    :ivar lost: the number of lost messages that the tail has not been told about.
    :ivar lost_since: the time when the tail lost the first of these messages, in seconds since the
        epoch.
    """

    position: int = 0
    seen: int = 0
    lost: int = 0
    lost_since: float = 0.0

    def shows(self, entry: Entry) -> bool:
        """Return true if the tail has not seen the entry yet."""
        return entry.number is None or entry.number > self.seen

    def lose(self, count: int, now: float) -> None:
        """Count messages that the tail has lost."""
        if count and not self.lost:
            self.lost_since = now
        self.lost += count

    def push(self, start: int, pushed_out: Sequence[Entry], now: float) -> int:
        """
        Move the tail to the start of the window, because the window has removed entries that the
        tail had not read.

        :param start: the position of the oldest entry in the window.
        :return: the number of messages that the tail has lost.
        """
        missed = start - self.position
        if missed <= 0:
            return 0
        self.position = start
        lost = sum(entry.is_message and self.shows(entry) for entry in pushed_out[-missed:])
        self.lose(lost, now)
        return lost
