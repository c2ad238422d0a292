"""
The newest entries of some tails of one channel, kept once for all readers who are behind.

Readers with equal filters see the same entries in the same order, so one bounded list does for
all of them what a bounded buffer for each would do: whoever is further behind than it reaches has
lost the oldest of what waited for him.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define


@define(eq=False, repr=False)
class Entry:
    """
    One message that a reader is shown, or one notice of Logplex itself.

    :ivar number: the message's number; ``None`` where it has none.
    :ivar message: as it was cooked, until somebody reads it; then ``None``.
    :ivar text: as readers get it; empty until somebody reads it.
    :ivar is_message: whether a reader who misses it has lost a message.
    :ivar size_bytes: what it counts against a buffer's bound.
    """

    number: int | None
    message: bytes | None
    text: bytes
    is_message: bool
    size_bytes: int

    @classmethod
    def of(cls, number: int | None, message: bytes) -> Entry:
        """A message that nobody has read yet."""
        return cls(number, message, b"", True, len(message))

    @classmethod
    def formatted(cls, number: int | None, text: bytes) -> Entry:
        """A message as readers get it."""
        return cls(number, None, text, True, len(text))

    @classmethod
    def notice(cls, text: bytes) -> Entry:
        """What is no message of the channel."""
        return cls(None, None, text, False, len(text))


class Window:
    """
    Entries by position. Positions count from the window's beginning and never come again.

    The bound holds after every :meth:`trim`; between two of them everything stays, so that a
    reader who is there gets a chance to read what came in one go.

    :ivar start: the position of the oldest entry that is kept.
    :ivar end: the position of the next entry to come.
    """

    __slots__ = ("_bytes", "_entries", "end", "start")

    def __init__(self) -> None:
        self.start = 0
        self.end = 0
        self._entries: list[Entry] = []
        self._bytes = 0

    def append(self, entries: Sequence[Entry]) -> None:
        """Keep them for those who are behind."""
        self._entries.extend(entries)
        self.end += len(entries)
        self._bytes += sum([entry.size_bytes for entry in entries])

    def skip(self, count: int) -> None:
        """So many entries pass that nobody needs. The window must be empty."""
        self.end += count
        self.start = self.end

    def clear(self) -> None:
        """Nobody is behind any more."""
        self._entries.clear()
        self._bytes = 0
        self.start = self.end

    def trim(self, max_entries: int, max_bytes: int) -> list[Entry]:
        """
        Push out the oldest entries beyond these bounds, but never the newest.

        :return: what was pushed out, the oldest first.
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
        """Entries from a position on, about so many bytes; empty only at the end."""
        begin = end = position - self.start
        size_bytes = 0
        while end < len(self._entries) and size_bytes < max_bytes:
            size_bytes += self._entries[end].size_bytes
            end += 1
        return self._entries[begin:end]
