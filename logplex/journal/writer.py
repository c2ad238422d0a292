# SPDX-License-Identifier: Apache-2.0

"""
The writer of a journal: it collects all changes of a tick, and writes them as one transaction in a
thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from logplex.clock import wall_s
from logplex.journal.backlog import Backlog, JournalChannel
from logplex.journal.file import JournalFile
from logplex.journal.memory import NewestRows
from logplex.journal.values import (
    ROW_BYTES,
    ROW_MESSAGES,
    JournalAway,
    JournalBounds,
    Position,
    Row,
    Transaction,
)

_log = Logger()

#: What may wait in memory while the disk is full, broken or slow; then the newest is dropped.
WAITING_BYTES = 67_108_864
#: The time for which digests of requests are remembered.
FRAME_LIFETIME_S = 300.0
#: A refused transaction is tried again after this time.
RETRY_S = 1.0


@define(eq=False, repr=False)
class _Taken:
    """Messages that are written all together or not at all. A caller waits for them."""

    pieces: Mapping[JournalChannel, Sequence[bytes]]
    frame: bytes | None
    answer: Deferred[None]


@define(eq=False, repr=False)
class _NextTransaction:
    """The changes of the next transaction, except the messages that wait in the channels."""

    channels: dict[JournalChannel, None] = field(factory=dict)
    taken: list[_Taken] = field(factory=list)
    syncs: list[Deferred[None]] = field(factory=list)
    moved: dict[str, Position | None] = field(factory=dict)
    asides: dict[str, frozenset[tuple[int, int]]] = field(factory=dict)

    @property
    def answers(self) -> list[Deferred[None]]:
        """Return the Deferreds that fire when the transaction has ended."""
        return [*(each.answer for each in self.taken), *self.syncs]


@define(eq=False, repr=False)
class JournalWriter:
    """
    The writer that collects changes to a journal, and writes them at the next tick, or at once if a
    caller waits.

    :ivar run: see :class:`logplex.journal.journal.Journal`.
    :ivar number: the number of the next row.
    :ivar written: called after a transaction with the changed channels, the new rows, the used
        bytes of the file, and the free bytes.
    :ivar trouble: the reason why the journal keeps no messages now, in one line; ``None`` if it
        keeps them.
    :ivar dropped: the number of messages that were dropped because the disk was full or broken.
    """

    file: JournalFile
    run: Callable[..., Deferred[Any]]
    clock: IReactorTime
    bounds: JournalBounds
    number: int
    memory: NewestRows
    written: Callable[[Iterable[JournalChannel], Sequence[Row], int, int], Deferred[None] | None]
    trouble: str | None = None
    dropped: int = 0
    _waiting_bytes: int = 0
    _waiting: _NextTransaction = field(factory=_NextTransaction)
    _tick: IDelayedCall | None = None
    _writing: Deferred[None] | None = None
    #: The rows of the transaction under way.
    _rows: Sequence[Row] = ()
    _closed: bool = False

    def append(self, channel: JournalChannel, messages: Sequence[bytes]) -> None:
        """
        Write messages of a channel with the next transaction. Drop the messages if too many wait
        because the disk is full or broken.
        """
        size_bytes = sum(map(len, messages))
        if self._waiting_bytes + size_bytes > WAITING_BYTES:
            self.dropped += len(messages)
            now_s = wall_s(self.clock)
            for backlog in channel.backlogs:
                backlog.lose(len(messages), now_s)
            return
        channel.pending += messages
        self._waiting_bytes += size_bytes
        self.touch(channel)

    def take(
        self, pieces: Mapping[JournalChannel, Sequence[bytes]], frame: bytes | None
    ) -> Deferred[None]:
        """See :meth:`logplex.journal.journal.Journal.take`."""
        answer: Deferred[None] = Deferred()
        return self._asked(
            answer, lambda: self._waiting.taken.append(_Taken(pieces, frame, answer))
        )

    def sync(self) -> Deferred[None]:
        """
        Fire when all messages so far would survive a loss of power. The result fails with
        JournalAway if they cannot be written.
        """
        answer: Deferred[None] = Deferred()
        return self._asked(answer, lambda: self._waiting.syncs.append(answer))

    def came(self, channel: JournalChannel) -> int:
        """
        Return the number of messages that have come for a channel until now, written or not; those
        of :meth:`take` count from their transaction on.
        """
        under_way = sum(len(row.messages) for row in self._rows if row.channel == channel.id)
        waiting = sum(map(len, channel.parts)) + len(channel.pending)
        return channel.next_count + under_way + waiting

    def move(self, backlog: Backlog) -> None:
        """
        Write the position of a backlog with the next transaction, and its refused messages that
        wait for another attempt.
        """
        self._waiting.moved[backlog.name] = backlog.position
        self._waiting.asides[backlog.name] = backlog.asides
        self.touch(backlog.channel)

    def end(self, name: str) -> None:
        """Delete the position of a backlog with the next transaction."""
        self._waiting.moved[name] = None
        self._waiting.asides[name] = frozenset()
        self._soon()

    def touch(self, channel: JournalChannel) -> None:
        """Let the next transaction delete the rows of a channel that are not needed any more."""
        self._waiting.channels[channel] = None
        self._soon()

    def close(self) -> Deferred[None]:
        """Write all waiting messages. The result fires when the last transaction has ended."""
        self._closed = True
        self._cancel_tick()
        if self._writing is None:
            return self._write()
        return self._writing.addCallback(lambda _: self._write())

    def _asked(self, answer: Deferred[None], ask: Callable[[], object]) -> Deferred[None]:
        if self._closed or self.trouble is not None:
            return fail(JournalAway(self.trouble or "the journal is closed"))
        ask()
        self._now()
        return answer

    def _soon(self) -> None:
        if self._tick is None and self._writing is None and not self._closed:
            delay_s = self.bounds.tick_s if self.trouble is None else RETRY_S
            self._tick = self.clock.callLater(delay_s, self._now)

    def _now(self) -> None:
        self._cancel_tick()
        if self._writing is None:
            self._write()

    def _cancel_tick(self) -> None:
        tick, self._tick = self._tick, None
        if tick is not None and tick.active():
            tick.cancel()

    def _write(self) -> Deferred[None]:
        """Write everything that waits, in one transaction."""
        waiting, self._waiting = self._waiting, _NextTransaction()
        parts = {channel: _parts(channel) for channel in waiting.channels}
        self._waiting_bytes = 0
        self._rows = rows = list(self._numbered(parts, waiting.taken))
        keep_from = {
            channel.id: needed
            for channel in waiting.channels
            if (needed := self._needed_from(channel)) > channel.kept_from
        }
        gaps = {channel.id: gap for channel in waiting.channels if (gap := channel.gap)}
        now_s = wall_s(self.clock)
        changes = Transaction(
            rows,
            waiting.moved,
            waiting.asides,
            keep_from,
            gaps,
            [each.frame for each in waiting.taken if each.frame is not None],
            now_s,
            now_s - FRAME_LIFETIME_S,
            bool(waiting.answers),
        )

        def written(sizes: tuple[int, int]) -> Deferred[None] | None:
            self._healed()
            for row in rows:
                self.memory.add(row)
            for channel in waiting.channels:
                channel.kept_from = keep_from.get(channel.id, channel.kept_from)
                self.memory.drop(channel.id, channel.kept_from)
            for answer in waiting.answers:
                answer.callback(None)
            # From here on they count as written.
            self._rows = ()
            return self.written(waiting.channels, rows, *sizes)

        def refused(failure: Failure) -> None:
            failure.trap(sqlite3.Error, OSError)
            self._fell_ill(failure.getErrorMessage())
            self._rows = ()
            for channel, some in parts.items():
                channel.parts[:0] = some
                self._waiting_bytes += sum(sum(map(len, part)) for part in some)
            later, self._waiting = self._waiting, _NextTransaction()
            self._waiting.channels = waiting.channels | later.channels
            self._waiting.moved = waiting.moved | later.moved
            self._waiting.asides = waiting.asides | later.asides
            for answer in waiting.answers + later.answers:
                answer.errback(JournalAway(self.trouble))

        def over(_: object) -> None:
            self._writing = None
            if self._waiting.answers:
                self._now()
            elif self._waiting.channels or self._waiting.moved or self.trouble is not None:
                self._soon()

        # It is known to be under way before the call, which may answer at once.
        under_way = self._writing = Deferred()
        done = self.run(_commit, self.file, changes).addCallbacks(written, refused)
        done.addErrback(bug).addBoth(over).addBoth(under_way.callback)
        return under_way

    def _numbered(
        self,
        parts: Mapping[JournalChannel, Iterable[tuple[bytes, ...]]],
        taken: Iterable[_Taken],
    ) -> Iterator[Row]:
        """
        Return the rows of a transaction with their numbers. Rows with the messages of channels come
        first, then rows for which callers wait.
        """
        now_s = wall_s(self.clock)
        ends: dict[str, Row] = {}
        all_parts = [(channel, part) for channel, some in parts.items() for part in some]
        all_parts += [
            (channel, part)
            for each in taken
            for channel, messages in each.pieces.items()
            for part in _cut(messages)
        ]
        for channel, messages in all_parts:
            count, size_bytes = channel.next_count, channel.next_bytes
            if channel.id in ends:
                count, size_bytes = ends[channel.id].after_count, ends[channel.id].after_bytes
            row = Row(self.number, channel.id, now_s, count, size_bytes, messages)
            ends[channel.id] = row
            self.number += 1
            yield row

    def _needed_from(self, channel: JournalChannel) -> int:
        needed = channel.needed_from
        return self.number if needed is None else needed

    def _healed(self) -> None:
        if self.trouble is not None:
            self.trouble = None
            _log.info("the journal {path} is written again", path=self.file.path)

    def _fell_ill(self, reason: str) -> None:
        if self.trouble != reason:
            self.trouble = reason
            _log.warn(
                "the journal {path} cannot be written: {reason}",
                path=self.file.path,
                reason=reason,
            )


def bug(failure: Failure) -> None:
    """Log an unexpected failure as a bug of Logplex."""
    _log.failure("bug: the journal failed", failure)


def _commit(file: JournalFile, changes: Transaction) -> tuple[int, int]:
    """Write a transaction to the file, in the thread. Return the used bytes and the free bytes."""
    file.write(changes)
    return file.used_bytes(), file.free_bytes()


def _parts(channel: JournalChannel) -> list[tuple[bytes, ...]]:
    """Take the waiting messages of a channel, and return them in parts. Each part becomes a row."""
    parts = [*channel.parts, *_cut(channel.pending)]
    channel.parts = []
    channel.pending = []
    return parts


def _cut(messages: Sequence[bytes]) -> Iterator[tuple[bytes, ...]]:
    """Cut messages into parts. Each part is small enough for one row."""
    if len(messages) <= ROW_MESSAGES and sum(map(len, messages)) <= ROW_BYTES:
        if messages:
            yield tuple(messages)
        return
    part: list[bytes] = []
    size_bytes = 0
    for message in messages:
        if part and (len(part) == ROW_MESSAGES or size_bytes + len(message) > ROW_BYTES):
            yield tuple(part)
            part, size_bytes = [], 0
        part.append(message)
        size_bytes += len(message)
    yield tuple(part)
