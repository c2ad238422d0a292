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
    """The durable drain that reads a backlog. The journal calls the methods of this drain."""

    def rows_came(self) -> None:
        """Tell the drain that the journal has new rows for the drain."""

    def gave_up(self, count: int, since_s: float) -> None:
        """
        Tell the drain that the journal has dropped unsent messages, because they were too many or
        too old.

        :param since_s: the time at which the oldest dropped message was written, in seconds since
            the epoch.
        :param count: the number of dropped messages.
        """


class BacklogSource(Protocol):
    """The methods of a journal that its backlogs need."""

    def read(
        self, channel: JournalChannel, number: int, max_messages: int, max_bytes: int
    ) -> Deferred[Rows]:
        """
        Return the oldest rows of a channel, beginning with a row number; see :meth:`Backlog.read`.
        """

    def sync(self) -> Deferred[None]:
        """
        Fire when all messages so far would survive a loss of power. The result fails with
        JournalAway if they cannot be written.
        """

    def came(self, channel: JournalChannel) -> int:
        """Return the number of messages that have come for a channel, written or not."""

    def moved(self, backlog: Backlog) -> None:
        """
        Write the new position of a backlog, and its messages set aside, with the next transaction.
        """

    def end(self, backlog: Backlog) -> None:
        """Delete the position of a backlog from the file."""


@define(eq=False, repr=False)
class JournalChannel:
    """
    A channel that has at least one durable drain, and so at least one backlog.

    :ivar pending: the messages that wait for the next transaction. ``parts`` are older messages,
        whose transaction failed.
    :ivar kept_from: the number of the oldest row that is kept. Older rows are deleted, or will be
        deleted soon.
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
        """
        The number of the oldest row that a backlog of the channel needs; ``None`` if there is no
        backlog.
        """
        return min((each.needed_from for each in self.backlogs), default=None)

    @property
    def gap(self) -> tuple[int, int] | None:
        """
        A range of rows that no backlog of the channel needs, between rows that are needed; ``None``
        if there is no such range.

        The first number is that of the first row in the range. The second number is that of the
        first row after the range.
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
    The rows of a channel that one durable drain has not delivered yet.

    :ivar name: the name of the drain's position in the file: the id of the drain.
    :ivar position: see :class:`Position`.
    :ivar asides: the messages that the receiver refused and that wait for another attempt. Each is
        given by the number of its row and its place in the row.
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
        """The number of messages in the backlog that are neither delivered nor given up."""
        left = self.channel.next_count - self._done_count - self.position.skipped_count
        # A new backlog begins behind what is not written yet.
        return max(left, 0)

    @property
    def bytes(self) -> int:
        """
        The size of the messages in the backlog that are neither delivered nor given up. A row that
        is partly delivered counts with its whole size.
        """
        return self.channel.next_bytes - self._done_bytes - self.position.skipped_bytes

    @property
    def is_empty(self) -> bool:
        """True if the drain has delivered all messages of the backlog."""
        return self.messages == 0

    def read(self, max_messages: int = ROW_MESSAGES, max_bytes: int = ROW_BYTES) -> Deferred[Rows]:
        """
        Return the oldest rows of the backlog, in order; no rows at the end of the backlog.

        The first row may be partly delivered: the messages before ``position.place`` are done. If
        the process has ended during a claim of several rows, the same rows are returned again.

        :param max_messages: the maximum number of messages in all rows together. The first row is
            returned even if it has more.
        :param max_bytes: the maximum size of all rows together, with the same exception.
        """
        position = self.position
        last = position.claimed or (position.gap - 1 if position.gap else 1 << 62)
        if position.claimed:
            max_messages = max_bytes = 1 << 62
        rows = self._journal.read(self.channel, position.row, max_messages, max_bytes)
        return rows.addCallback(lambda found: [row for row in found if row.number <= last])

    def read_row(self, number: int) -> Deferred[Row | None]:
        """Return the row with this number; ``None`` if the row does not exist."""
        rows = self._journal.read(self.channel, number, 1, 1)
        return rows.addCallback(
            lambda found: next((row for row in found if row.number == number), None)
        )

    def claim(self, rows: Rows) -> Deferred[None]:
        """
        Reserve the rows that :meth:`read` returned for sending. The result fires when the rows may
        be sent.

        :raise JournalAway: the claim could not be written to the disk.
        """
        last = rows[-1].number
        self._claimed = last
        if last == self.position.row or last == self.position.claimed:
            return succeed(None)
        self._move(evolve(self.position, claimed=last))
        return self._journal.sync().addErrback(self._unclaimed)

    def advance(self, row: Row, place: int) -> None:
        """Mark all messages before a place in a claimed row as done. The rows stay claimed."""
        is_whole = place == len(row.messages)
        self._done_count = row.before_count + place
        self._done_bytes = row.after_bytes if is_whole else row.before_bytes
        number = row.number + 1 if is_whole else row.number
        self._move(evolve(self.position, row=number, place=0 if is_whole else place))

    def rewind(self, row: Row, place: int) -> None:
        """
        End the claim, and continue at an earlier place of the backlog. The messages from this place
        on are not done.
        """
        self._claimed = None
        self._move(evolve(self.position, claimed=0))
        self.advance(row, place)

    def release(self) -> None:
        """End the claim. The next claim begins with the first message that is not done."""
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
        """
        Replace the set of messages that wait for another attempt. Each message is given by the
        number of its row and its place in the row.
        """
        self.asides = frozenset(messages)
        self._journal.moved(self)

    def lose(self, count: int, since_s: float) -> None:
        """Count lost messages, so that the receiver is told of them later. Tell the drain too."""
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
        """Subtract lost messages of which the receiver has been told."""
        self._move(evolve(self.position, lost_count=self.position.lost_count - count))

    def give_up(self, given: Given) -> None:
        """Skip the rows that the journal has dropped, because they were too many or too old."""
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
        Return the first row that the journal may drop from the backlog, and the number of messages
        in that row that are done.
        """
        position = self.position
        if not self._has_claim:
            return position.row, position.place
        last = max(self._claimed or 0, position.claimed, position.row)
        return position.resume or last + 1, 0

    @property
    def needed_from(self) -> int:
        """The number of the oldest row that this backlog needs."""
        return min((row for row, _ in self.asides), default=self.position.row)

    @property
    def came(self) -> int:
        """
        The number of messages that the channel has received so far, counted like ``before_count``
        of rows.
        """
        return self._journal.came(self.channel)

    def end(self) -> None:
        """Delete the position of the backlog from the journal, because the drain is gone."""
        self._journal.end(self)

    @property
    def _has_claim(self) -> bool:
        """True if rows are claimed now, or were claimed when the last process ended."""
        return bool(self._claimed or self.position.claimed or self.position.gap)

    def _unclaimed(self, failure: Failure) -> Failure:
        self._claimed = None
        self._move(evolve(self.position, claimed=0))
        return failure

    def _move(self, position: Position) -> None:
        self.position = position
        self._journal.moved(self)
