# SPDX-License-Identifier: Apache-2.0

"""
A look into the file of a journal, also while a node uses it. Nothing is changed.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from attrs import frozen

from logplex.journal.file import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    channels_of,
    done_before,
    ends_of,
)
from logplex.journal.values import JournalUnusable, Position


@frozen
class Survey:
    """
    The contents of a journal, in short.

    :ivar id: the id of the journal; empty if no node has opened it yet.
    :ivar bytes: the size of the file, with the log that SQLite keeps beside it.
    :ivar used_bytes: the bytes of the file that are in use.
    """

    id: str
    bytes: int
    used_bytes: int
    rows: int
    drains: list[DrainSurvey]


@frozen
class DrainSurvey:
    """
    The position of a durable drain.

    :ivar drain: the id of the drain.
    :ivar row: the number of the first row that is not done; ``place`` messages of it are done.
    :ivar claimed: the last row of a claim of several rows; 0 without one.
    :ivar lag_messages: the messages that are neither delivered nor given up.
    :ivar oldest_at: when the oldest of them was written, in seconds since the epoch.
    :ivar set_aside: how many of them the receiver refused, and are tried once more.
    :ivar lost: how many messages were given up, of which the receiver has not been told.
    """

    drain: str
    channel: str
    row: int
    place: int
    claimed: int
    lag_messages: int
    lag_bytes: int
    oldest_at: float | None
    set_aside: int
    lost: int


def survey(path: str) -> Survey:
    """
    Read a journal.

    :raise JournalUnusable: the file is not a journal, or cannot be read; the text says why.
    """
    try:
        size_bytes = sum(
            each.stat().st_size for each in (Path(path), Path(f"{path}-wal")) if each.exists()
        )
        uri = f"file:{quote(path)}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=1.0, isolation_level=None)) as file:
            _check(file, path)
            # All of it is of one moment.
            file.execute("BEGIN")
            return _survey(file, size_bytes)
    except (OSError, sqlite3.Error) as error:
        raise JournalUnusable(f"{path} cannot be read: {error}") from error


def _check(file: sqlite3.Connection, path: str) -> None:
    if _number(file, "PRAGMA application_id") != APPLICATION_ID:
        raise JournalUnusable(f"{path} is not a journal")
    version = _number(file, "PRAGMA user_version")
    if version > SCHEMA_VERSION:
        raise JournalUnusable(f"{path} was written by a newer Logplex (schema {version})")


def _survey(file: sqlite3.Connection, size_bytes: int) -> Survey:
    run = file.execute
    positions = {name: Position(*rest) for name, *rest in run("SELECT * FROM position")}
    ends = {channel: ends_of(file, channel, positions.values()) for channel in channels_of(file)}
    drains: list[DrainSurvey] = []
    for name, position in sorted(positions.items()):
        end = ends.get(position.channel)
        count, done_bytes = done_before(file, position)
        asides, first = run(
            "SELECT count(*), min(row) FROM aside WHERE name = ?", (name,)
        ).fetchone()
        messages = end.next_count - count - position.skipped_count if end else 0
        oldest = run(
            "SELECT at_s FROM row WHERE channel = ? AND number >= ? ORDER BY number LIMIT 1",
            (position.channel, position.row if first is None else first),
        ).fetchone()
        drains.append(
            DrainSurvey(
                name,
                position.channel,
                position.row,
                position.place,
                position.claimed,
                lag_messages=messages + asides,
                lag_bytes=end.next_bytes - done_bytes - position.skipped_bytes if end else 0,
                oldest_at=oldest[0] if oldest else None,
                set_aside=asides,
                lost=position.lost_count,
            )
        )
    found = run("SELECT value FROM fact WHERE name = 'id'").fetchone()
    pages = _number(file, "PRAGMA page_count") - _number(file, "PRAGMA freelist_count")
    return Survey(
        found[0] if found else "",
        size_bytes,
        pages * _number(file, "PRAGMA page_size"),
        _number(file, "SELECT count(*) FROM row"),
        drains,
    )


def _number(file: sqlite3.Connection, statement: str) -> int:
    number: int = file.execute(statement).fetchone()[0]
    return number
