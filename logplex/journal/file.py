# SPDX-License-Identifier: Apache-2.0

"""
The file of a journal: its tables, one transaction, and reads. All calls are synchronous, and run in
one thread.

No number is used twice, even after a loss of power that has undone the last transactions. For this,
each opening of the file begins with numbers that are :data:`START_GAP` above all earlier numbers.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from errno import ENOSPC
from pathlib import Path
from uuid import uuid4

import msgpack
from attrs import astuple

from logplex.journal.values import (
    Ends,
    Given,
    JournalBroken,
    JournalFull,
    JournalUnusable,
    Opened,
    Position,
    Row,
    Transaction,
)

#: The path that means: no file; what is kept ends with the process. For tests.
IN_MEMORY = ":memory:"
#: "LPJR": tells our files from other programs' databases.
APPLICATION_ID = 0x4C504A52
SCHEMA_VERSION = 1
#: More numbers than one process gives.
START_GAP = 1 << 32
#: How long the thread waits for another program that reads the file, for a backup.
_BUSY_TIMEOUT_S = 1.0
#: The log beside the file is cut back to this size when it has been copied into the file.
_LOG_LIMIT_BYTES = 16_777_216
#: Free pages that one transaction gives back to the disk at most: 4 MB, a few milliseconds.
_VACUUM_PAGES = 1_000
#: SQLite's codes of a file that is damaged, or that never was a database.
_BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

_SCHEMA = """
CREATE TABLE fact (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE row
    (number INTEGER PRIMARY KEY, channel TEXT, at_s REAL, before_count INTEGER,
     before_bytes INTEGER, count INTEGER, bytes INTEGER, messages BLOB);
CREATE INDEX row_channel ON row (channel, number);
CREATE TABLE position
    (name TEXT PRIMARY KEY, channel TEXT, row INTEGER, place INTEGER, claimed INTEGER,
     gap INTEGER, resume INTEGER, skipped_count INTEGER, skipped_bytes INTEGER, lost_count INTEGER,
     lost_since_s REAL) WITHOUT ROWID;
CREATE TABLE aside (name TEXT, row INTEGER, place INTEGER, PRIMARY KEY (name, row, place))
    WITHOUT ROWID;
CREATE TABLE frame (digest BLOB PRIMARY KEY, at_s REAL) WITHOUT ROWID;
CREATE INDEX frame_age ON frame (at_s);
"""


class JournalFile:
    """
    The open file of a journal. Only one thread may use the file.

    :raise JournalBroken: the file is damaged, or is not a database.
    :raise JournalUnusable: the file cannot be used for another reason.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._connection = _connect(path)
        self._page_bytes = self._number("PRAGMA page_size")

    def open(self, now_s: float, remember_s: float) -> Opened:
        """
        Read the first and the last row of each channel, and choose the number of the next row.

        :param now_s: the present time, in seconds since the epoch.
        :param remember_s: the maximum age of the digests of requests that are returned, in seconds.
        """
        with self._transaction(waited=True) as run:
            facts: dict[str, int | str] = dict(run("SELECT name, value FROM fact"))
            journal = str(facts.get("id") or uuid4().hex)
            last = run("SELECT max(number) FROM row").fetchone()[0] or 0
            floor = max(int(facts.get("floor", 0)), last) + START_GAP
            run("INSERT OR REPLACE INTO fact VALUES ('id', ?), ('floor', ?)", (journal, floor))
            positions = {name: Position(*rest) for name, *rest in run("SELECT * FROM position")}
            asides: dict[str, set[tuple[int, int]]] = {}
            for name, row, place in run("SELECT name, row, place FROM aside"):
                asides.setdefault(name, set()).add((row, place))
            frames = run(
                "SELECT digest FROM frame WHERE at_s > ? ORDER BY at_s", (now_s - remember_s,)
            )
            return Opened(
                journal,
                floor + 1,
                {
                    channel: ends_of(self._connection, channel, positions.values())
                    for channel in channels_of(self._connection)
                },
                positions,
                {
                    name: done_before(self._connection, position)
                    for name, position in positions.items()
                },
                {name: frozenset(messages) for name, messages in asides.items()},
                [digest for (digest,) in frames],
            )

    def write(self, changes: Transaction) -> None:
        """
        Make all changes of a transaction, or none of them.

        :raise sqlite3.Error: no change was made, because the disk is full or broken.
        """
        with self._transaction(changes.waited) as run:
            many = self._connection.executemany
            many(
                "INSERT INTO row VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        row.number,
                        row.channel,
                        row.at_s,
                        row.before_count,
                        row.before_bytes,
                        len(row.messages),
                        row.bytes,
                        msgpack.packb(row.messages),
                    )
                    for row in changes.rows
                ],
            )
            for name, position in changes.positions.items():
                self._place(name, position)
            for name, messages in changes.asides.items():
                run("DELETE FROM aside WHERE name = ?", (name,))
                many(
                    "INSERT INTO aside VALUES (?, ?, ?)",
                    [(name, row, place) for row, place in sorted(messages)],
                )
            many(
                "DELETE FROM row WHERE channel = ? AND number < ?", list(changes.keep_from.items())
            )
            many(
                "DELETE FROM row WHERE channel = ? AND number >= ? AND number < ?",
                [(channel, *gap) for channel, gap in changes.gaps.items()],
            )
            many(
                "INSERT OR REPLACE INTO frame VALUES (?, ?)",
                [(digest, changes.at_s) for digest in changes.frames],
            )
            run("DELETE FROM frame WHERE at_s < ?", (changes.forget_before_s,))
        if changes.keep_from or changes.gaps:
            # Free pages would otherwise stay in the file, which never shrank again.
            self._connection.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()

    def read(self, channel: str, number: int, max_messages: int, max_bytes: int) -> list[Row]:
        """
        Return the oldest rows of a channel in order, beginning with the row of this number.

        :param max_messages: the maximum number of messages in all rows together. The first row is
            returned even if it has more.
        :param max_bytes: the maximum size of all rows together, with the same exception.
        """
        rows: list[Row] = []
        messages = size_bytes = 0
        found = self._connection.execute(
            "SELECT number, at_s, before_count, before_bytes, count, bytes, messages FROM row"
            " WHERE channel = ? AND number >= ? ORDER BY number",
            (channel, number),
        )
        try:
            for number, at_s, before_count, before_bytes, count, row_bytes, packed in found:
                messages += count
                size_bytes += row_bytes
                if rows and (messages > max_messages or size_bytes > max_bytes):
                    break
                content = tuple(msgpack.unpackb(packed))
                rows.append(Row(number, channel, at_s, before_count, before_bytes, content))
        finally:
            # An open read would keep the log beside the file from being copied into it.
            found.close()
        return rows

    def used_bytes(self) -> int:
        """Return the number of bytes in the file that are in use."""
        pages = self._number("PRAGMA page_count") - self._number("PRAGMA freelist_count")
        return pages * self._page_bytes

    def free_bytes(self) -> int:
        """
        Return the number of bytes by which the content of the file can grow: the free space in the
        file and on the disk.
        """
        if self.path == IN_MEMORY:
            return 1 << 62
        disk = os.statvfs(self.path)
        unused_bytes = self._number("PRAGMA freelist_count") * self._page_bytes
        return disk.f_bavail * disk.f_frsize + unused_bytes

    def oldest(
        self, channel: str, row: int, place: int, want_bytes: int, written_before_s: float
    ) -> Given:
        """
        Return the oldest rows that a backlog must give up, because there are too many rows or the
        rows are too old.

        :param row: the number of the first row that may be given up.
        :param place: the number of messages in that row that are done already.
        :param want_bytes: the minimum size of the messages to give up.
        :param written_before_s: a time in seconds since the epoch. All rows that were written
            before this time are given up.
        """
        count = size_bytes = 0
        since_s: float | None = None
        found = self._connection.execute(
            "SELECT number, at_s, count, bytes FROM row WHERE channel = ? AND number >= ?"
            " ORDER BY number",
            (channel, row),
        )
        try:
            for number, at_s, row_count, row_bytes in found:
                if size_bytes >= want_bytes and at_s >= written_before_s:
                    break
                count += row_count - (place if number == row else 0)
                size_bytes += row_bytes
                since_s = at_s if since_s is None else since_s
                row = number + 1
        finally:
            found.close()
        return Given(row, count, size_bytes, since_s)

    def close(self) -> None:
        """Close the file of the journal."""
        self._connection.close()

    def _place(self, name: str, position: Position | None) -> None:
        if position is None:
            self._connection.execute("DELETE FROM position WHERE name = ?", (name,))
            return
        self._connection.execute(
            "INSERT OR REPLACE INTO position VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (name, *astuple(position)),
        )

    @contextmanager
    def _transaction(self, waited: bool) -> Iterator[Callable[..., sqlite3.Cursor]]:
        run = self._connection.execute
        # Within a transaction SQLite ignores this pragma.
        run(f"PRAGMA synchronous = {'FULL' if waited else 'NORMAL'}")
        run("BEGIN IMMEDIATE")
        try:
            yield run
            run("COMMIT")
        except BaseException:
            # SQLite has taken the transaction back itself after some errors, such as a full disk.
            if self._connection.in_transaction:
                run("ROLLBACK")
            raise

    def _number(self, statement: str) -> int:
        number: int = self._connection.execute(statement).fetchone()[0]
        return number


def channels_of(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield the ids of the channels that have rows. Each id costs one step through the index."""
    channel = ""
    while True:
        found = connection.execute(
            "SELECT channel FROM row WHERE channel > ? ORDER BY channel LIMIT 1", (channel,)
        ).fetchone()
        if found is None:
            return
        channel = found[0]
        yield channel


def ends_of(connection: sqlite3.Connection, channel: str, positions: Iterable[Position]) -> Ends:
    """
    Return the first row of a channel, and the counts for the channel's next row. The channel must
    have rows.
    """
    run = connection.execute
    first = run("SELECT min(number) FROM row WHERE channel = ?", (channel,)).fetchone()[0]
    last, count, size_bytes = run(
        "SELECT number, before_count + count, before_bytes + bytes FROM row WHERE channel = ?"
        " ORDER BY number DESC LIMIT 1",
        (channel,),
    ).fetchone()
    # Rows that made room behind a claim count too, though they were the last and are gone.
    gone = [each for each in positions if each.channel == channel and each.gap > last]
    count += max((each.skipped_count for each in gone), default=0)
    size_bytes += max((each.skipped_bytes for each in gone), default=0)
    return Ends(first, count, size_bytes)


def done_before(connection: sqlite3.Connection, position: Position) -> tuple[int, int]:
    """Return the number and the size of the channel's messages before a position."""
    run = connection.execute
    found = run(
        "SELECT number, before_count, before_bytes FROM row WHERE channel = ? AND number >= ?"
        " ORDER BY number LIMIT 1",
        (position.channel, position.row),
    ).fetchone()
    if found is not None:
        number, count, size_bytes = found
        return count + (position.place if number == position.row else 0), size_bytes
    found = run(
        "SELECT before_count + count, before_bytes + bytes FROM row WHERE channel = ?"
        " ORDER BY number DESC LIMIT 1",
        (position.channel,),
    ).fetchone()
    return found or (0, 0)


def _connect(path: str) -> sqlite3.Connection:
    """
    Open the file of a journal, or create the file.

    Only the owner of the file can read it, since it contains the logs of applications.
    """
    try:
        if path != IN_MEMORY:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).touch(mode=0o600)
        connection = sqlite3.connect(
            path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
    except OSError as error:
        kind = JournalFull if error.errno == ENOSPC else JournalUnusable
        raise kind(f"{path} cannot be opened: {error.strerror}") from error
    except sqlite3.Error as error:
        raise JournalUnusable(f"{path} cannot be opened: {error}") from error
    try:
        _set_up(connection, path)
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.DatabaseError) and error.sqlite_errorcode in _BROKEN:
            raise JournalBroken(f"{path} is damaged: {error}") from error
        if isinstance(error, sqlite3.Error):
            raise unusable(path, error) from error
        raise
    return connection


def unusable(path: str, error: sqlite3.Error) -> JournalUnusable:
    """Return the failure to raise when the file of a journal cannot be used."""
    # The low byte is SQLite's primary code. Without room SQLite cannot even map its shared memory.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    is_full = code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
    return (JournalFull if is_full else JournalUnusable)(f"{path} cannot be used: {error}")


def _set_up(connection: sqlite3.Connection, path: str) -> None:
    """Check that the file belongs to Logplex. If the file is empty, create its tables."""
    run = connection.execute
    application = run("PRAGMA application_id").fetchone()[0]
    empty = not run("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application == 0 and empty:
        # Only a database without tables can be told to give pages back.
        run("PRAGMA auto_vacuum = INCREMENTAL")
        run("PRAGMA journal_mode = WAL")
        run("BEGIN IMMEDIATE")
        for statement in _SCHEMA.split(";"):
            run(statement)
        run(f"PRAGMA application_id = {APPLICATION_ID}")
        run(f"PRAGMA user_version = {SCHEMA_VERSION}")
        run("COMMIT")
    elif application != APPLICATION_ID:
        raise JournalUnusable(f"{path} belongs to another program")
    version = run("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise JournalUnusable(
            f"{path} was written by a newer Logplex"
            f" (schema {version}, this one knows {SCHEMA_VERSION})"
        )
    run("PRAGMA journal_mode = WAL")
    run(f"PRAGMA journal_size_limit = {_LOG_LIMIT_BYTES}")
