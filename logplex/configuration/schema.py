# SPDX-License-Identifier: Apache-2.0

"""The tables of the SQLite configuration store, and how they are made, checked and upgraded."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from twisted.enterprise.adbapi import ConnectionPool

from logplex.interfaces import IReactor, StoreUnusable
from logplex.sqlite_file import OPENING_ERRORS, taken, unusable

SCHEMA_VERSION = 2
#: The longest time to wait for another program that changes the database.
_BUSY_TIMEOUT_S = 1.0
#: "LPLX": distinguishes our files from databases of other programs.
APPLICATION_ID = 0x4C504C58
_SCHEMA = """
CREATE TABLE channel (id TEXT PRIMARY KEY, name TEXT, flags TEXT) WITHOUT ROWID;
CREATE TABLE token (id TEXT PRIMARY KEY, channel TEXT, name TEXT, created_us INTEGER) WITHOUT ROWID;
CREATE TABLE drain
    (id INTEGER PRIMARY KEY, channel TEXT, token TEXT, url TEXT,
     durable INTEGER NOT NULL DEFAULT 0);
CREATE TABLE credential
    (id TEXT PRIMARY KEY, secret TEXT, name TEXT, full_api INTEGER, channel TEXT) WITHOUT ROWID;
CREATE TABLE session (id TEXT PRIMARY KEY, body BLOB, expires_s REAL) WITHOUT ROWID;
CREATE INDEX session_expiry ON session (expires_s);
CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER) WITHOUT ROWID;
"""

#: Schema version -> the statement that makes the next version of it.
_UPGRADES = {1: "ALTER TABLE drain ADD COLUMN durable INTEGER NOT NULL DEFAULT 0"}

#: The codes of SQLite for a disk that is full, or fails (without the extended part of a code).
_NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def connection_pool(path: str, reactor: IReactor) -> ConnectionPool:
    """
    Return a pool with one thread and one connection to the SQLite database.

    :param path: the path of the file, or :data:`IN_MEMORY`.
    """
    return ConnectionPool(
        "sqlite3",
        path,
        timeout=_BUSY_TIMEOUT_S,
        check_same_thread=False,
        cp_reactor=reactor,
        cp_min=1,
        cp_max=1,
        cp_openfun=_set_up,
    )


def check_file(path: str) -> None:
    """
    Open the SQLite database, and close it again.

    A node calls this function before it becomes a daemon, so that the operator sees an error at the
    terminal.

    :raise StoreUnusable: the file cannot be opened, is in use, or belongs to another program.
    """
    try:
        with taken(path), closing(sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S)) as connection:
            _set_up(connection)
    except OPENING_ERRORS as error:
        raise unusable(path, error) from error


def _set_up(connection: sqlite3.Connection) -> None:
    """
    Check that the database belongs to Logplex. If the database is empty, create its tables.

    If the disk is full, the database can still be read, and can be written when the disk has room
    again. For this, SQLite must not share the database, so a backup by another program waits until
    the node restarts.
    """
    path = connection.execute("PRAGMA database_list").fetchone()[2]
    try:
        if path and not _has_room(path):
            _open_without_room(connection)
        else:
            _prepare(connection)
    except BaseException:
        connection.close()
        raise


def _has_room(path: str) -> bool:
    """
    Return false if the disk is full or broken.

    The test needs a connection of its own, because a connection that has failed to write cannot be
    used any more.
    """
    with closing(sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S)) as connection:
        try:
            _prepare(connection)
        except sqlite3.OperationalError as error:
            return error.sqlite_errorcode & 0xFF not in _NO_ROOM
    return True


def _open_without_room(connection: sqlite3.Connection) -> None:
    """Check a database that cannot be written now, because the disk is full."""
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA synchronous = FULL")
    is_ours = _pragma(connection, "application_id") == APPLICATION_ID
    if not is_ours or _pragma(connection, "user_version") != SCHEMA_VERSION:
        raise StoreUnusable("there is no room on the disk to prepare the database")


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    version = _pragma(connection, "user_version")
    application = _pragma(connection, "application_id")
    if application == 0 and not connection.execute("SELECT * FROM sqlite_master").fetchone():
        _make_tables(connection)
    elif application != APPLICATION_ID:
        raise StoreUnusable("the database belongs to another program")
    elif version > SCHEMA_VERSION:
        raise StoreUnusable(
            f"a newer Logplex wrote it (schema {version}, this one knows {SCHEMA_VERSION})"
        )
    else:
        _upgrade(connection, version)
    connection.commit()
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value


def _upgrade(connection: sqlite3.Connection, version: int) -> None:
    """Add the missing tables to a database of an older version of Logplex."""
    for old in range(version, SCHEMA_VERSION):
        connection.execute(_UPGRADES[old])
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _make_tables(connection: sqlite3.Connection) -> None:
    # One by one: executescript() would commit, and a failure would leave half of the tables.
    for statement in _SCHEMA.split(";"):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
