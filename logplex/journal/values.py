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
    """The disk is full or broken, so nothing was kept. The text gives the reason in one line."""


class JournalUnusable(Exception):
    """The file cannot be opened; the text says why in one line."""


class JournalBroken(JournalUnusable):
    """The file is damaged, or not a database. It may be renamed and replaced."""


@frozen
class Row:
    """
    A row: a part of the messages that one channel received in one tick.

    :ivar at_s: the time at which it was written, in seconds since the epoch.
    :ivar before_count: the number of messages of the channel before this row. The difference of two
        rows is the number of messages between them.
    :ivar before_bytes: the bytes of the messages before this row.
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
        """The number of messages of the channel up to the end of this row."""
        return self.before_count + len(self.messages)

    @property
    def after_bytes(self) -> int:
        """The bytes of messages of the channel up to the end of this row."""
        return self.before_bytes + self.bytes


@frozen
class Position:
    """
    A reader's place in the rows of its channel.

    :ivar row: the number of a row; everything of the channel in rows below it is done.
    :ivar place: how many messages of that row are done too.
    :ivar claimed: the last row of the claim under way, if that is more than one row; else 0.
    :ivar gap: the first of the rows behind a claim that had to make room, and ``resume`` the first
        row after them; 0 if there are none.
    :ivar skipped_count: how many messages these rows had, and their bytes in ``skipped_bytes``.
    :ivar lost_count: how many messages were given up that the receiver has not been told of, the
        first of them at ``lost_since_s`` (seconds since the epoch).
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
    The beginning and the end of a channel's rows.

    :ivar first: the number of its oldest row.
    :ivar next_count: the ``before_count`` of the next row; ``next_bytes`` is its ``before_bytes``.
    """

    first: int
    next_count: int
    next_bytes: int


@frozen
class Opened:
    """
    The contents of a file when it was opened, without its rows.

    :ivar id: the random id of the journal: 32 hex digits.
    :ivar next_number: the number of the next row.
    :ivar done: for each position, the number and the bytes of the channel's messages before it.
    :ivar asides: for each position, the messages that are set aside, each with its row and place.
    :ivar frames: the digests of requests that were answered, the oldest first.
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
    All changes of a tick, made together or not at all.

    :ivar positions: new places; ``None`` ends a position.
    :ivar asides: all messages that a position has set aside now, as row and place.
    :ivar keep_from: of each channel, the lowest number of a row that is still needed.
    :ivar gaps: of some channels, the first row that is not needed and the next that is, higher up.
    :ivar frames: digests of requests whose messages are in it.
    :ivar forget_before_s: frames older than this are removed.
    :ivar waited: a caller waits for it; it must survive a loss of power.
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
    The oldest rows of a backlog, which a position may give up.

    :ivar next_row: the number of the first row that stays; one above the last if none does.
    :ivar count: the number of messages in them; ``bytes`` is their size.
    :ivar since_s: the time of the oldest message; ``None`` if there are none.
    """

    next_row: int
    count: int
    bytes: int
    since_s: float | None


@frozen
class JournalBounds:
    """
    The bounds of a journal.

    :ivar tick_s: the longest time that messages wait for their transaction.
    :ivar max_bytes: the largest size of the file.
    :ivar keep_free_bytes: the space on the disk that is left free for other programs.
    :ivar max_age_s: the age at which rows are given up.
    """

    tick_s: float = 0.05
    max_bytes: int = 4_294_967_296
    keep_free_bytes: int = 268_435_456
    max_age_s: float = 604_800.0


DEFAULT_BOUNDS = JournalBounds()


Rows = list[Row]
