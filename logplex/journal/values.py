# SPDX-License-Identifier: Apache-2.0

"""
The values of a journal: rows, positions, and what one transaction changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import field, frozen

#: A row is at most one batch of a drain; one larger message is a row of its own.
ROW_MESSAGES = 400
ROW_BYTES = 102_400


class JournalAway(Exception):
    """
    The journal could not keep messages, because the disk is full or broken. The text gives the
    reason in one line.
    """


class JournalUnusable(Exception):
    """The file of the journal cannot be opened. The text gives the reason in one line."""


class JournalFull(JournalUnusable):
    """The disk of the journal is full or fails. Opening the file may succeed later."""


class JournalBroken(JournalUnusable):
    """
    The file of the journal is damaged, or is not a database. The file may be renamed and replaced.
    """


@frozen
class Row:
    """
    A row of the journal: some of the messages that one channel has received in one tick.

    :ivar at_s: the time at which the row was written, in seconds since the epoch.
    :ivar before_count: the number of messages that the channel had before this row. The difference
        of two such numbers is the number of messages between two rows.
    :ivar before_bytes: the size of the messages that the channel had before this row.
    """

    number: int
    channel: str
    at_s: float
    before_count: int
    before_bytes: int
    messages: tuple[bytes, ...] = field(repr=False)
    bytes: int = field(init=False)

    @bytes.default
    def _sum(self) -> int:
        return sum(map(len, self.messages))

    @property
    def after_count(self) -> int:
        """The number of messages that the channel had up to the end of this row."""
        return self.before_count + len(self.messages)

    @property
    def after_bytes(self) -> int:
        """The size of the messages that the channel had up to the end of this row."""
        return self.before_bytes + self.bytes


@frozen
class Position:
    """
    The place in the rows of a channel up to which a durable drain is done.

    :ivar row: the number of the first row that is not completely done. All earlier rows of the
        channel are done.
    :ivar place: the number of messages in that row that are done.
    :ivar claimed: the number of the last claimed row if several rows are claimed; else 0.
    :ivar gap: the number of the first row after the claim that the journal has dropped for lack of
        room; 0 if none was dropped.
    :ivar skipped_count: the number of messages in the dropped rows.
    :ivar lost_count: the number of lost messages of which the receiver has not been told yet.
    :ivar resume: the number of the first row after the dropped rows; 0 if none was dropped.
    :ivar skipped_bytes: the size of the messages in the dropped rows.
    :ivar lost_since_s: the time of the first of these losses, in seconds since the epoch.
    """

    channel: str
    row: int
    place: int = 0
    claimed: int = 0
    gap: int = 0
    resume: int = 0
    skipped_count: int = 0
    skipped_bytes: int = 0
    lost_count: int = 0
    lost_since_s: float = 0.0


@frozen
class Ends:
    """
    The first row of a channel, and the counts for the channel's next row.

    :ivar first: the number of the channel's oldest row.
    :ivar next_count: the ``before_count`` of the channel's next row.
    :ivar next_bytes: the ``before_bytes`` of the channel's next row.
    """

    first: int
    next_count: int
    next_bytes: int


@frozen
class Opened:
    """
    The contents of a journal's file when the file was opened, without the rows.

    :ivar id: the random id of the journal: 32 hex digits.
    :ivar next_number: the number of the next row.
    :ivar done: for each position, the number and the bytes of the channel's messages before it.
    :ivar asides: for each position, the refused messages that wait for another attempt. Each is
        given by the number of its row and its place in the row.
    :ivar frames: the digests of requests that were answered, the oldest digest first.
    """

    id: str
    next_number: int
    ends: Mapping[str, Ends]
    positions: Mapping[str, Position]
    done: Mapping[str, tuple[int, int]]
    asides: Mapping[str, frozenset[tuple[int, int]]]
    frames: Sequence[bytes]


@frozen
class Transaction:
    """
    All changes to the file in one tick. They are made together, or none of them is made.

    :ivar positions: the new positions of drains; ``None`` deletes a position.
    :ivar asides: for each changed position, all messages that wait for another attempt, each by row
        and place.
    :ivar keep_from: for each channel, the number of the oldest row that is still needed.
    :ivar gaps: for some channels, a range of rows that are not needed although older rows are: the
        number of the first row in the range, and of the first row after the range.
    :ivar frames: the digests of the requests whose messages this transaction contains.
    :ivar forget_before_s: digests of requests that are older than this time are deleted.
    :ivar waited: true if a caller waits until the changes would survive a loss of power.
    """

    rows: Sequence[Row] = ()
    positions: Mapping[str, Position | None] = field(factory=dict)
    asides: Mapping[str, frozenset[tuple[int, int]]] = field(factory=dict)
    keep_from: Mapping[str, int] = field(factory=dict)
    gaps: Mapping[str, tuple[int, int]] = field(factory=dict)
    frames: Sequence[bytes] = ()
    at_s: float = 0.0
    forget_before_s: float = 0.0
    waited: bool = False


@frozen
class Given:
    """
    The oldest rows of a backlog, which the backlog may give up.

    :ivar next_row: the number of the first row that stays. If no row stays, it is one above the
        last row.
    :ivar count: the number of messages in the rows to give up.
    :ivar since_s: the time of the oldest message; ``None`` if there are no rows to give up.
    :ivar bytes: the size of the messages in the rows to give up.
    """

    next_row: int
    count: int
    bytes: int
    since_s: float | None


@frozen
class JournalBounds:
    """
    The limits that a journal keeps.

    :ivar tick_s: the longest time that messages wait for the transaction that writes them.
    :ivar max_bytes: the maximum size of the file.
    :ivar keep_free_bytes: the free space on the disk that the journal leaves for other programs.
    :ivar max_age_s: the age at which a row is given up.
    """

    tick_s: float = 0.05
    max_bytes: int = 4_294_967_296
    keep_free_bytes: int = 268_435_456
    max_age_s: float = 604_800.0


DEFAULT_BOUNDS = JournalBounds()


Rows = list[Row]
