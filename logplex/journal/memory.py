# SPDX-License-Identifier: Apache-2.0

"""
The newest rows of a journal, in memory, so that a drain that is up to date does not read the file.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from itertools import takewhile

from attrs import define, field

from logplex.journal.values import Row, Rows

#: Of all rows in memory together, in bytes of messages; above it the oldest leave.
MEMORY_BYTES = 33_554_432


@define(eq=False, repr=False)
class NewestRows:
    """
    The newest rows of all channels, in memory. No row of a channel is missing between them.

    :ivar opened_at: the number of the first row of this process. Earlier rows are only in the file.
    """

    opened_at: int
    _rows: OrderedDict[int, Row] = field(factory=OrderedDict)
    _numbers: dict[str, deque[int]] = field(factory=dict)
    #: Of each channel, rows from this number on are all here; ``opened_at`` for the others.
    _begins: dict[str, int] = field(factory=dict)
    _bytes: int = 0

    def add(self, row: Row) -> None:
        """Add a row, which is newer than all other rows."""
        self._rows[row.number] = row
        self._numbers.setdefault(row.channel, deque()).append(row.number)
        self._bytes += row.bytes
        while self._bytes > MEMORY_BYTES:
            number, oldest = self._rows.popitem(last=False)
            self._numbers[oldest.channel].popleft()
            self._begins[oldest.channel] = number + 1
            self._bytes -= oldest.bytes

    def drop(self, channel_id: str, below: int) -> None:
        """Forget the rows of a channel whose numbers are below ``below``."""
        numbers = self._numbers.get(channel_id, ())
        while numbers and numbers[0] < below:
            self._bytes -= self._rows.pop(numbers.popleft()).bytes

    def forget(self, channel_id: str) -> None:
        """Forget a channel that has no more rows in memory or in the file."""
        self.drop(channel_id, 1 << 63)
        self._numbers.pop(channel_id, None)
        self._begins.pop(channel_id, None)

    def read(self, channel_id: str, number: int, max_messages: int, max_bytes: int) -> Rows | None:
        """
        Return the oldest rows of a channel, beginning with the row of this number; ``None`` if one
        of these rows is not in memory.

        The limits are the same as for :meth:`logplex.journal.file.JournalFile.read`.
        """
        if number < self._begins.get(channel_id, self.opened_at):
            return None
        found = takewhile(
            lambda each: each >= number, reversed(self._numbers.get(channel_id, deque()))
        )
        newest_first = [self._rows[each] for each in found]
        return _up_to(reversed(newest_first), max_messages, max_bytes)


def _up_to(rows: Iterable[Row], max_messages: int, max_bytes: int) -> Rows:
    """
    Return the first of these rows that together stay within both limits, but at least one row.
    """
    chosen: Rows = []
    messages = size_bytes = 0
    for row in rows:
        messages += len(row.messages)
        size_bytes += row.bytes
        if chosen and (messages > max_messages or size_bytes > max_bytes):
            break
        chosen.append(row)
    return chosen
