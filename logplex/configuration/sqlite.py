# SPDX-License-Identifier: Apache-2.0

"""
The configuration store of a single node: a SQLite database, in a file or in memory.

One thread uses the only connection, so transactions and their answers keep the order of the calls.
WAL with ``synchronous=FULL`` writes a transaction to the disk before it is answered. A lock file
beside the database keeps other nodes out; the lock ends with the process. Other programs may read
the database at the same time, for a backup.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from attrs import astuple
from prometheus_client.core import CounterMetricFamily
from twisted.enterprise.adbapi import ConnectionPool, Transaction
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from logplex.interfaces import IConfigListener, IConfigStore, RodsTold, StoreAway, StoreFailed
from logplex.metrics import Sample
from logplex.model.session import channel_of_session
from logplex.model.values import (
    KINDS,
    Change,
    Channel,
    Credential,
    Drain,
    Kind,
    Put,
    Token,
    Value,
    join_flags,
    split_flags,
)
from logplex.sqlite_file import IN_MEMORY, OPENING_ERRORS, taken, unusable

#: The directory for files of the owner of a node that keeps its configuration in memory.
IN_MEMORY_DIRECTORY = "var"
_TABLES: dict[Kind, str] = {kind: name for name, kind in KINDS.items()}
#: Kind -> a value of this kind from its row.
_FROM_ROW: dict[Kind, Callable[..., Value]] = {
    Channel: lambda id, name, flags: Channel(id, name, split_flags(flags)),
    Token: Token,
    Drain: lambda id, channel, token, url, durable: Drain(id, channel, token, url, bool(durable)),
    Credential: lambda id, secret, name, full_api, channel: Credential(
        id, secret, name, bool(full_api), channel
    ),
}
_log = Logger()

#: The most sessions that one statement asks for; SQLite allows 999 values at least.
_SESSIONS_AT_ONCE = 500
_T = TypeVar("_T")


@implementer(IConfigStore)
class SqliteConfigStore:
    """
    A configuration store in SQLite; see :class:`IConfigStore`.

    :param path: the path of the file; see :func:`connection_pool`. A missing directory is created.
        Only the owner can read a new file.
    :param clock: gives the time in seconds since the epoch, by which sessions expire.
    """

    def __init__(self, path: str, pool: ConnectionPool, clock: IReactorTime) -> None:
        in_memory = path == IN_MEMORY
        self.name = "memory, nothing is kept" if in_memory else f"SQLite file {path}"
        self.directory = Path(IN_MEMORY_DIRECTORY) if in_memory else Path(path).parent
        self._path = path
        self._pool = pool
        self._clock = clock
        #: The reason of the last failure, until a change succeeds.
        self._failure = ""
        self._failures = 0
        self._listener: IConfigListener | None = None
        self._closed = False
        self._lock: ExitStack | None = None

    def open(self, listener: IConfigListener) -> Deferred[None]:
        """See :class:`IConfigStore`. The result can also fail with :class:`StoreUnusable`."""
        self._listener = listener
        if self._path != IN_MEMORY and self._lock is None:
            self._lock = ExitStack()
            try:
                self._lock.enter_context(taken(self._path))
            except OSError as error:
                return fail(unusable(self._path, error))
        loading: Deferred[list[Value]] = self._pool.runInteraction(_load)
        return loading.addErrback(self._refused).addCallback(listener.loaded)

    def commit(self, changes: Sequence[Change], channel_id: str | None = None) -> Deferred[None]:
        """
        See :class:`IConfigStore`. The channel is ignored, because a file does not lose its values.
        """
        if not changes:
            return succeed(None)
        changes = tuple(changes)
        return self._change(_write, changes).addCallback(lambda _: self._tell(changes))

    def new_id(self, counter: str) -> Deferred[int]:
        """See :class:`IConfigStore`."""
        return self._change(_increment, counter)

    def count_healthcheck(self) -> Deferred[int]:
        """See :class:`IConfigStore`."""
        return self._change(_increment, "healthcheck")

    def put_session(self, session_id: str, body: bytes, lifetime_s: float) -> Deferred[None]:
        """See :class:`IConfigStore`."""
        return self._change(_put_session, session_id, body, self._clock.seconds(), lifetime_s)

    def get_session(self, session_id: str) -> Deferred[bytes | None]:
        """See :class:`IConfigStore`."""
        return self._run(_get_session, session_id, self._clock.seconds())

    def renew_sessions(self, sessions: Mapping[str, str], lifetime_s: float) -> Deferred[None]:
        """See :class:`IConfigStore`."""
        return self._change(_renew_sessions, list(sessions), self._clock.seconds(), lifetime_s)

    def ended_sessions(self, session_ids: Sequence[str]) -> Deferred[list[str]]:
        """See :class:`IConfigStore`."""
        return self._run(_ended_sessions, list(session_ids), self._clock.seconds())

    def end_session(self, session_id: str) -> Deferred[bool]:
        """See :class:`IConfigStore`."""
        return self._change(_end_session, session_id, self._clock.seconds())

    def end_sessions(self, channel_id: str) -> Deferred[None]:
        """See :class:`IConfigStore`."""
        return self._change(_end_sessions, channel_id)

    def close(self) -> Deferred[None]:
        """See :class:`IConfigStore`."""
        if self._closed:
            return succeed(None)
        # All earlier calls are answered before this one; then the thread is idle.
        last = self._run(_nothing) if self._pool.connections else succeed(None)
        self._closed = True
        return last.addBoth(self._shut)

    def share_rods(self, told: RodsTold) -> None:
        """See :class:`IConfigStore`. Return ``None``, because no other node uses this store."""

    def samples(self) -> Iterable[Sample]:
        """See :class:`IConfigStore`."""
        yield Sample(
            "logplex_store_failures",
            "Operations that SQLite refused, for example because the disk is full",
            self._failures,
            kind=CounterMetricFamily,
        )

    def troubles(self) -> list[str]:
        """See :class:`IConfigStore`."""
        return [f"the store fails: {self._failure}"] if self._failure else []

    def _run(self, interaction: Callable[..., _T], *args: object) -> Deferred[_T]:
        if self._closed:
            return fail(StoreAway("the store is closed"))
        answer: Deferred[_T] = self._pool.runInteraction(interaction, *args)
        return answer.addErrback(self._failed)

    def _change(self, interaction: Callable[..., _T], *args: object) -> Deferred[_T]:
        """Run a function that writes to the database, as one transaction."""
        return self._run(interaction, *args).addCallback(self._changed)

    def _changed(self, result: _T) -> _T:
        if self._failure:
            self._failure = ""
            _log.info("the store takes changes again")
        return result

    def _failed(self, failure: Failure) -> Failure:
        """Turn an error of a full or broken disk into :class:`StoreFailed`."""
        error = failure.value
        if isinstance(error, sqlite3.OperationalError) or type(error) is sqlite3.DatabaseError:
            why = f"SQLite: {error}"
            self._failures += 1
            if why != self._failure:
                self._failure = why
                _log.error("the store fails: {why}", why=why)
            raise StoreFailed(why) from error
        return failure

    def _shut(self, _: object) -> None:
        self._pool.close()
        if self._lock is not None:
            self._lock.close()

    def _tell(self, changes: Sequence[Change]) -> None:
        if self._listener is not None:
            self._listener.changed(changes)

    def _refused(self, failure: Failure) -> Failure:
        if isinstance(failure.value, OPENING_ERRORS):
            raise unusable(self._path, failure.value) from failure.value
        return failure


# These functions run in the thread of the store.


def _nothing(transaction: Transaction) -> None:
    """Do nothing. This empty transaction ends after all earlier transactions."""


def _load(transaction: Transaction) -> list[Value]:
    values: list[Value] = []
    for kind, table in _TABLES.items():
        transaction.execute(f"SELECT * FROM {table}")
        values += (_FROM_ROW[kind](*row) for row in transaction.fetchall())
    return values


def _write(transaction: Transaction, changes: Sequence[Change]) -> None:
    for change in changes:
        if isinstance(change, Put):
            row = _row(change.value)
            marks = ", ".join("?" * len(row))
            table = _TABLES[type(change.value)]
            transaction.execute(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", row)
        else:
            transaction.execute(f"DELETE FROM {_TABLES[change.kind]} WHERE id = ?", (change.id,))


def _row(value: Value) -> tuple[object, ...]:
    attributes = astuple(value, recurse=False)
    return tuple(join_flags(each) if isinstance(each, frozenset) else each for each in attributes)


def _increment(transaction: Transaction, counter: str) -> int:
    highest = 0
    if counter == "drain_index":
        # A drain may have come from another store, with its id.
        transaction.execute("SELECT COALESCE(MAX(id), 0) FROM drain")
        highest = transaction.fetchone()[0]
    transaction.execute("INSERT OR IGNORE INTO counter VALUES (?, 0)", (counter,))
    transaction.execute(
        "UPDATE counter SET value = MAX(value, ?) + 1 WHERE name = ?", (highest, counter)
    )
    transaction.execute("SELECT value FROM counter WHERE name = ?", (counter,))
    value: int = transaction.fetchone()[0]
    return value


def _put_session(
    transaction: Transaction, session_id: str, body: bytes, now_s: float, lifetime_s: float
) -> None:
    transaction.execute("DELETE FROM session WHERE expires_s <= ?", (now_s,))
    transaction.execute(
        "INSERT OR REPLACE INTO session VALUES (?, ?, ?)", (session_id, body, now_s + lifetime_s)
    )


def _get_session(transaction: Transaction, session_id: str, now_s: float) -> bytes | None:
    transaction.execute(
        "SELECT body FROM session WHERE id = ? AND expires_s > ?", (session_id, now_s)
    )
    row: tuple[bytes] | None = transaction.fetchone()
    return row[0] if row else None


def _renew_sessions(
    transaction: Transaction, session_ids: Sequence[str], now_s: float, lifetime_s: float
) -> None:
    for session_id in session_ids:
        transaction.execute(
            "UPDATE session SET expires_s = ? WHERE id = ? AND expires_s > ?",
            (now_s + lifetime_s, session_id, now_s),
        )


def _ended_sessions(
    transaction: Transaction, session_ids: Sequence[str], now_s: float
) -> list[str]:
    there: set[str] = set()
    for start in range(0, len(session_ids), _SESSIONS_AT_ONCE):
        part = session_ids[start : start + _SESSIONS_AT_ONCE]
        marks = ", ".join("?" * len(part))
        transaction.execute(
            f"SELECT id FROM session WHERE expires_s > ? AND id IN ({marks})", (now_s, *part)
        )
        there.update(row[0] for row in transaction.fetchall())
    return [each for each in session_ids if each not in there]


def _end_session(transaction: Transaction, session_id: str, now_s: float) -> bool:
    was_there = _get_session(transaction, session_id, now_s) is not None
    transaction.execute("DELETE FROM session WHERE id = ?", (session_id,))
    return was_there


def _end_sessions(transaction: Transaction, channel_id: str) -> None:
    transaction.execute("SELECT id, body FROM session")
    ids = [id for id, body in transaction.fetchall() if channel_of_session(body) == channel_id]
    for session_id in ids:
        transaction.execute("DELETE FROM session WHERE id = ?", (session_id,))
