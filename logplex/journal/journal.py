# SPDX-License-Identifier: Apache-2.0

"""
The journal of a process: it keeps messages, gives them to backlogs, and limits its size.

Calls on the message path are synchronous and cost nothing per message: :meth:`Journal.append` only
adds messages to a list. A thread does everything that concerns the file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from prometheus_client.core import CounterMetricFamily
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from logplex.clock import wall_s
from logplex.journal.backlog import Backlog, BacklogReader, JournalChannel
from logplex.journal.file import IN_MEMORY, JournalFile, unusable
from logplex.journal.memory import NewestRows
from logplex.journal.values import (
    DEFAULT_BOUNDS,
    Given,
    JournalAway,
    JournalBounds,
    JournalBroken,
    JournalFull,
    JournalUnusable,
    Opened,
    Position,
    Row,
    Rows,
)
from logplex.journal.writer import FRAME_LIFETIME_S, JournalWriter
from logplex.metrics import Sample
from logplex.sqlite_file import taken

_log = Logger()

_AGE_CHECK_S = 60.0
#: Room that one look for it makes beyond what is missing, as a part of the bound, so that not every
#: tick looks again.
_SPARE_ROOM = 1 / 64

_NOTHING_STORED = Opened("", 1, {}, {}, {}, {}, ())


class Journal:
    """
    The journal of this process. Call :meth:`open` first.

    :param path: the path of the file. A missing directory is created. With :data:`IN_MEMORY` no
        message is kept on the disk.
    :param run: runs blocking calls in a thread, one after another; fires with the result.
    :param open_file: opens the file; it is called in the thread.
    :param released: called when the file is closed.
    """

    def __init__(
        self,
        path: str,
        run: Callable[..., Deferred[Any]],
        clock: IReactorTime,
        bounds: JournalBounds = DEFAULT_BOUNDS,
        open_file: Callable[[str], JournalFile] = JournalFile,
        released: Callable[[], None] = lambda: None,
    ) -> None:
        self.path = path
        self.bounds = bounds
        #: The file's contents when it was opened: its id, and digests of requests.
        self.stored = _NOTHING_STORED
        self.used_bytes = 0
        #: The reason why the file could not be opened because its disk is full; ``None`` if it was.
        self.not_opened: str | None = None
        self._run = run
        self._clock = clock
        self._open_path = open_file
        self._released = released
        self._lock = ExitStack()
        self._file: JournalFile
        self._writer: JournalWriter | None = None
        self._memory = NewestRows(1)
        self._channels: dict[str, JournalChannel] = {}
        self._backlogs: dict[str, Backlog] = {}
        #: Positions in the file that no reader has asked for yet.
        self._found: dict[str, Position] = {}
        self._aged_s = 0.0

    async def open(self) -> None:
        """
        Open the file, and read the ends of its channels. A damaged file is replaced by a new file.

        :raise JournalUnusable: the file cannot be used, or another process uses it.
        """
        if self.path != IN_MEMORY:
            try:
                self._lock.enter_context(taken(self.path))
            except BlockingIOError as error:
                raise JournalUnusable(f"{self.path} is in use by another process") from error
            except OSError as error:
                raise JournalUnusable(f"{self.path} cannot be opened: {error.strerror}") from error
        try:
            await self._open_file()
        except JournalFull:
            self._lock.close()
            raise
        except JournalBroken as error:
            aside = _set_aside(self.path, wall_s(self._clock))
            _log.error(
                "{reason}; it is kept as {aside}, and a new journal begins",
                reason=str(error),
                aside=aside,
            )
            await self._open_file()

    def append(self, channel_id: str, messages: Sequence[bytes]) -> None:
        """
        Write messages of a channel to the file at the next tick. This call never waits, and never
        raises an error.

        Messages of a channel without backlogs are not written.
        """
        channel = self._channels.get(channel_id)
        if channel is not None and channel.backlogs and self._writer is not None:
            self._writer.append(channel, messages)

    def take(
        self, pieces: Mapping[str, Sequence[bytes]], frame: bytes | None = None
    ) -> Deferred[None]:
        """
        Write messages of several channels, all of them or none. The result fires when the messages
        would survive a loss of power.

        :param frame: the digest of the request that contained the messages. After the next start,
            ``stored.frames`` contains this digest.
        :raise JournalAway: no message was written.
        """
        if self._writer is None:
            return fail(JournalAway("the journal is closed"))
        known = {
            channel: messages
            for channel_id, messages in pieces.items()
            if (channel := self._channels.get(channel_id)) is not None and channel.backlogs
        }
        return self._writer.take(known, frame)

    def sync(self) -> Deferred[None]:
        """
        Fire when all messages so far would survive a loss of power. The result fails with
        JournalAway if they cannot be written.
        """
        return self._opened.sync()

    def backlog(self, name: str, channel_id: str, reader: BacklogReader) -> Backlog:
        """
        Return the backlog of a drain, at the drain's earlier position. A new backlog begins at the
        end of the channel's rows.

        :param name: the name of the position: the id of the drain. If the file has this position
            for another channel, the backlog counts as new.
        """
        channel = self._channel(channel_id)
        position = self._found.pop(name, None)
        asides: frozenset[tuple[int, int]] = frozenset()
        begins_at = 0
        if position is not None and position.channel == channel_id:
            done_count, done_bytes = self.stored.done[name]
            asides = self.stored.asides.get(name, asides)
        else:
            position = Position(channel_id, self._opened.number)
            # What waits to be written came before it.
            done_count, done_bytes = self._opened.came(channel), channel.next_bytes
            begins_at = done_count
        backlog = Backlog(
            name,
            position,
            reader,
            asides,
            done_count=done_count,
            done_bytes=done_bytes,
            channel=channel,
            journal=self,
            begins_at=begins_at,
        )
        channel.backlogs.append(backlog)
        self._backlogs[name] = backlog
        self.moved(backlog)
        return backlog

    def has_earlier(self, name: str, channel_id: str) -> bool:
        """True if the file has a position that no reader has asked for yet."""
        position = self._found.get(name)
        return position is not None and position.channel == channel_id

    def end_others(self) -> None:
        """
        Delete the positions for which :meth:`backlog` was not called, because their drains are
        gone.
        """
        for name in self._found:
            self._opened.end(name)
        self._found = {}
        for channel_id in self.stored.ends:
            self._opened.touch(self._channel(channel_id))

    @property
    def trouble(self) -> str | None:
        """
        The reason why the journal accepts no messages now, in one line; ``None`` if it accepts
        messages.
        """
        return self._opened.trouble

    def troubles(self) -> list[str]:
        """Return the present failure of the journal, in one line."""
        trouble = self._writer.trouble if self._writer else self.not_opened
        return [f"the journal {self.path} cannot be written: {trouble}"] if trouble else []

    def samples(self) -> Iterator[Sample]:
        """Yield the numbers of the journal, for metrics."""
        yield Sample("logplex_journal_bytes", "Bytes of the journal in use", self.used_bytes)
        yield Sample(
            "logplex_journal_dropped",
            "Messages that could not wait for a full or broken disk",
            self._writer.dropped if self._writer else 0,
            kind=CounterMetricFamily,
        )
        backlogs = self._backlogs.values()
        yield Sample(
            "logplex_journal_messages",
            "Messages that durable drains have before them",
            sum(each.messages for each in backlogs),
        )
        yield Sample("logplex_journal_drains", "Durable drains of the node", len(backlogs))

    async def close(self) -> None:
        """Write all waiting messages, and close the file, if it is open."""
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.close()
            await self._run(self._file.close)
        self._lock.close()
        self._released()

    # For backlogs: see BacklogSource.

    def read(
        self, channel: JournalChannel, number: int, max_messages: int, max_bytes: int
    ) -> Deferred[Rows]:
        """See :meth:`Backlog.read`."""
        rows = self._memory.read(channel.id, number, max_messages, max_bytes)
        if rows is not None:
            return succeed(rows)
        answer: Deferred[Rows] = self._run(
            self._file.read, channel.id, number, max_messages, max_bytes
        )
        return answer.addErrback(_unreadable)

    def came(self, channel: JournalChannel) -> int:
        """See :class:`BacklogSource`."""
        return self._opened.came(channel)

    def moved(self, backlog: Backlog) -> None:
        """See :class:`BacklogSource`. After the end of the journal, do nothing."""
        if self._writer is not None and self._backlogs.get(backlog.name) is backlog:
            self._writer.move(backlog)

    def end(self, backlog: Backlog) -> None:
        """See :class:`BacklogSource`."""
        is_last = self._backlogs.get(backlog.name) is backlog
        if is_last:
            del self._backlogs[backlog.name]
        if backlog in backlog.channel.backlogs:
            backlog.channel.backlogs.remove(backlog)
        if self._writer is not None:
            self._writer.touch(backlog.channel)
            # A later backlog of this name keeps its position.
            if is_last:
                self._writer.end(backlog.name)

    @property
    def _opened(self) -> JournalWriter:
        if self._writer is None:
            raise JournalAway("the journal is not open")
        return self._writer

    async def _open_file(self) -> None:
        self._file = await self._run(self._open_path, self.path)
        try:
            self.stored = await self._run(self._file.open, wall_s(self._clock), FRAME_LIFETIME_S)
        except sqlite3.DatabaseError as error:
            await self._run(self._file.close)
            if isinstance(error, sqlite3.OperationalError):
                raise unusable(self.path, error) from error
            raise JournalBroken(f"{self.path} is damaged: {error}") from error
        self._found = dict(self.stored.positions)
        number = self.stored.next_number
        self._memory = NewestRows(number)
        self._writer = JournalWriter(
            self._file, self._run, self._clock, self.bounds, number, self._memory, self._written
        )

    def _channel(self, channel_id: str) -> JournalChannel:
        channel = self._channels.get(channel_id)
        if channel is None:
            number = self._opened.number
            ends = self.stored.ends.get(channel_id)
            channel = self._channels[channel_id] = JournalChannel(
                channel_id,
                ends.next_count if ends else 0,
                ends.next_bytes if ends else 0,
                ends.first if ends else number,
            )
        return channel

    def _written(
        self,
        channels: Iterable[JournalChannel],
        rows: Sequence[Row],
        used_bytes: int,
        free_bytes: int,
    ) -> Deferred[None] | None:
        """Tell drains of new rows, forget unused channels, and keep the limits."""
        told: dict[str, JournalChannel] = {}
        for row in rows:
            channel = told[row.channel] = self._channels[row.channel]
            channel.next_count, channel.next_bytes = row.after_count, row.after_bytes
        for channel in channels:
            if not (channel.backlogs or channel.pending or channel.parts):
                self._channels.pop(channel.id, None)
                self._memory.forget(channel.id)
        for channel in told.values():
            for backlog in tuple(channel.backlogs):
                try:
                    backlog.reader.rows_came()
                except Exception:
                    _log.failure("bug: a drain failed when rows came for it")
        self.used_bytes = used_bytes
        excess = used_bytes - self.bounds.max_bytes
        if self.bounds.keep_free_bytes:
            excess = max(excess, self.bounds.keep_free_bytes - free_bytes)
        now_s = wall_s(self._clock)
        is_old = now_s - self._aged_s >= _AGE_CHECK_S
        if excess <= 0 and not is_old:
            return None
        return Deferred.fromCoroutine(self._make_room(max(excess, 0), is_old, now_s))

    async def _make_room(self, excess_bytes: int, is_old: bool, now_s: float) -> None:
        """
        Drop rows that are too old. If there are too many rows, drop the oldest rows of the largest
        backlog.

        The space of a row that two backlogs need becomes free when both backlogs have dropped the
        row. After the next transaction the second backlog is the largest, and drops the row then.
        """
        if is_old:
            self._aged_s = now_s
            for backlog in tuple(self._backlogs.values()):
                if not backlog.is_empty:
                    await self._give(backlog, 0, now_s - self.bounds.max_age_s)
        if excess_bytes:
            largest = max(self._backlogs.values(), key=lambda backlog: backlog.bytes, default=None)
            if largest is not None and not largest.is_empty:
                spare = int(self.bounds.max_bytes * _SPARE_ROOM)
                await self._give(largest, excess_bytes + spare, 0.0)

    async def _give(self, backlog: Backlog, want_bytes: int, written_before_s: float) -> None:
        row, place = backlog.spare
        given: Given = await self._run(
            self._file.oldest,
            backlog.position.channel,
            row,
            place,
            want_bytes,
            written_before_s,
        )
        # The reader may have moved on or ended while the file was read.
        if backlog.spare == (row, place) and self._backlogs.get(backlog.name) is backlog:
            backlog.give_up(given)


def _set_aside(path: str, now_s: float) -> str:
    """Rename a damaged file, and SQLite's files beside it. Return the new name."""
    aside = f"{path}.damaged-{int(now_s)}"
    for suffix in ("", "-wal", "-shm"):
        if Path(path + suffix).exists():
            Path(path + suffix).rename(aside + suffix)
    return aside


def _unreadable(failure: Failure) -> Rows:
    failure.trap(sqlite3.Error, OSError)
    raise JournalAway(failure.getErrorMessage()) from failure.value
