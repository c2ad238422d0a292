# SPDX-License-Identifier: Apache-2.0

"""
A backlog: the rows that one durable drain still has to deliver, up to the end of its channel.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from logplex.journal.values import ROW_BYTES, ROW_MESSAGES, Given, Position, Row, Rows


class BacklogReader(Protocol):
    """The durable drain that reads a backlog. The journal calls these methods."""

    def rows_came(self) -> None:
        """Note that there are new rows behind the position."""

    def gave_up(self, count: int, since_s: float) -> None:
        """
        Note that the journal has dropped unsent messages, because they were too many or too old.

        :param since_s: when the oldest of them was written, in seconds since the epoch.
        """


class BacklogSource(Protocol):
    """The part of a journal that its backlogs use."""

    def read(
        self, channel: JournalChannel, number: int, max_messages: int, max_bytes: int
    ) -> Deferred[Rows]:
        """Return the channel's oldest rows from a number on; see :meth:`Backlog.read`."""

    def sync(self) -> Deferred[None]:
        """Fire when all messages so far survive a loss of power, or fail with JournalAway."""

    def came(self, channel: JournalChannel) -> int:
        """Return the number of messages that have come for a channel, written or not."""

    def moved(self, backlog: Backlog) -> None:
        """Write a backlog's position, and what it has set aside, with the next transaction."""

    def end(self, backlog: Backlog) -> None:
        """Remove the position of a backlog."""


@define(eq=False, repr=False)
class JournalChannel:
    """
    A channel with at least one backlog.

    :ivar pending: the messages that wait for the next transaction. ``parts`` are older messages,
        whose transaction failed.
    :ivar kept_from: rows below this number are deleted, or about to be.
    """

    id: str
    next_count: int
    next_bytes: int
    kept_from: int
    pending: list[bytes] = field(factory=list)
    parts: list[tuple[bytes, ...]] = field(factory=list)
    backlogs: list[Backlog] = field(factory=list)

    @property
    def needed_from(self) -> int | None:
        """The lowest number of a row that a backlog needs; ``None`` without backlogs."""
        return min((each.needed_from for each in self.backlogs), default=None)

    @property
    def gap(self) -> tuple[int, int] | None:
        """
        The range of rows that no backlog needs although it needs lower rows: the first row of the
        range, and the row after its last.
        """
        positions = [backlog.position for backlog in self.backlogs]
        end = min((each.resume for each in positions if each.gap), default=0)
        begin = 0
        for position in positions:
            if position.gap:
                begin = max(begin, position.gap)
            elif position.row < end:
                return None
        for backlog in self.backlogs:
            for row, _ in backlog.asides:
                if row >= begin:
                    end = min(end, row)
        return (begin, end) if begin < end else None


@define(eq=False, repr=False)
class Backlog:
    """
    The rows of a channel that one reader has not done yet.

    :ivar name: the name of the position in the file: the id of a drain.
    :ivar position: see :class:`Position`.
    :ivar asides: messages that the receiver refused, and that wait for another attempt: the row and
        the place in the row of each.
    """

    name: str
    position: Position
    reader: BacklogReader
    asides: frozenset[tuple[int, int]]
    _done_count: int
    _done_bytes: int
    channel: JournalChannel
    _journal: BacklogSource
    #: The messages of the channel before a new backlog began, like ``before_count`` of rows.
    begins_at: int = 0
    _claimed: int | None = None

    @property
    def messages(self) -> int:
        """The number of messages that are neither done nor given up."""
        left = self.channel.next_count - self._done_count - self.position.skipped_count
        # A new backlog begins behind what is not written yet.
        return max(left, 0)

    @property
    def bytes(self) -> int:
        """
        The bytes of the messages that are neither done nor given up; a partly done row counts
        whole.
        """
        return self.channel.next_bytes - self._done_bytes - self.position.skipped_bytes

    @property
    def is_empty(self) -> bool:
        """True if the reader has done all messages."""
        return self.messages == 0

    def read(self, max_messages: int = ROW_MESSAGES, max_bytes: int = ROW_BYTES) -> Deferred[Rows]:
        """
        Return the oldest rows of the backlog, whole, in order; none at the end.

        The first row may be partly done: its messages below ``position.place`` are done. After a
        crash during a claim of several rows, exactly these rows are returned.

        :param max_messages: the bound for all rows together, like ``max_bytes``. The first row is
            returned in any case.
        """
        position = self.position
        last = position.claimed or (position.gap - 1 if position.gap else 1 << 62)
        if position.claimed:
            max_messages = max_bytes = 1 << 62
        rows = self._journal.read(self.channel, position.row, max_messages, max_bytes)
        return rows.addCallback(lambda found: [row for row in found if row.number <= last])

    def read_row(self, number: int) -> Deferred[Row | None]:
        """Return a row that holds messages set aside; ``None`` if it is not there."""
        rows = self._journal.read(self.channel, number, 1, 1)
        return rows.addCallback(
            lambda found: next((row for row in found if row.number == number), None)
        )

    def claim(self, rows: Rows) -> Deferred[None]:
        """
        Claim the rows that :meth:`read` returned. Fires when they may be sent.

        :raise JournalAway: the claim could not be written.
        """
        last = rows[-1].number
        self._claimed = last
        if last == self.position.row or last == self.position.claimed:
            return succeed(None)
        self._move(evolve(self.position, claimed=last))
        return self._journal.sync().addErrback(self._unclaimed)

    def advance(self, row: Row, place: int) -> None:
        """Mark all messages before a place in a claimed row as done. The claim stays."""
        is_whole = place == len(row.messages)
        self._done_count = row.before_count + place
        self._done_bytes = row.after_bytes if is_whole else row.before_bytes
        number = row.number + 1 if is_whole else row.number
        self._move(evolve(self.position, row=number, place=0 if is_whole else place))

    def rewind(self, row: Row, place: int) -> None:
        """Give the claim up and begin again at an earlier place, of which nothing is known yet."""
        self._claimed = None
        self._move(evolve(self.position, claimed=0))
        self.advance(row, place)

    def release(self) -> None:
        """End the claim. Its messages that are not done are the first of the next claim."""
        self._claimed = None
        position = evolve(self.position, claimed=0)
        if position.gap and position.row >= position.gap:
            self._done_count += position.skipped_count
            self._done_bytes += position.skipped_bytes
            position = evolve(
                position, row=position.resume, gap=0, resume=0, skipped_count=0, skipped_bytes=0
            )
        if position != self.position:
            self._move(position)

    def set_aside(self, messages: Iterable[tuple[int, int]]) -> None:
        """Replace the set of messages that are set aside, each given by its row and its place."""
        self.asides = frozenset(messages)
        self._journal.moved(self)

    def lose(self, count: int, since_s: float) -> None:
        """Count lost messages, of which the receiver has to be told, and tell the reader."""
        position = self.position
        self._move(
            evolve(
                position,
                lost_count=position.lost_count + count,
                lost_since_s=position.lost_since_s if position.lost_count else since_s,
            )
        )
        self.reader.gave_up(count, since_s)

    def told(self, count: int) -> None:
        """Note that the receiver has been told of a number of lost messages."""
        self._move(evolve(self.position, lost_count=self.position.lost_count - count))

    def give_up(self, given: Given) -> None:
        """Note that the journal has dropped rows, because they were too many or too old."""
        if given.since_s is None:
            return
        if self._has_claim:
            position = evolve(
                self.position,
                gap=self.position.gap or self.spare[0],
                resume=given.next_row,
                skipped_count=self.position.skipped_count + given.count,
                skipped_bytes=self.position.skipped_bytes + given.bytes,
            )
        else:
            self._done_count += given.count
            self._done_bytes += given.bytes
            position = evolve(self.position, row=given.next_row, place=0)
        self._move(position)
        self.lose(given.count, given.since_s)

    @property
    def spare(self) -> tuple[int, int]:
        """
        Return the first row that may be given up, and the number of its messages that are done.
        """
        position = self.position
        if not self._has_claim:
            return position.row, position.place
        last = max(self._claimed or 0, position.claimed, position.row)
        return position.resume or last + 1, 0

    @property
    def needed_from(self) -> int:
        """The lowest number of a row that this backlog needs."""
        return min((row for row, _ in self.asides), default=self.position.row)

    @property
    def came(self) -> int:
        """The number of messages of the channel until now, like ``before_count`` of rows."""
        return self._journal.came(self.channel)

    def end(self) -> None:
        """Remove the position, because the reader is gone."""
        self._journal.end(self)

    @property
    def _has_claim(self) -> bool:
        """True if rows are claimed, or were when the process ended."""
        return bool(self._claimed or self.position.claimed or self.position.gap)

    def _unclaimed(self, failure: Failure) -> Failure:
        self._claimed = None
        self._move(evolve(self.position, claimed=0))
        return failure

    def _move(self, position: Position) -> None:
        self.position = position
        self._journal.moved(self)
