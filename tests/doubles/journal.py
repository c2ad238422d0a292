# SPDX-License-Identifier: Apache-2.0

"""
Doubles for a journal: a reader that counts, a file on a disk that can be full, and no thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from shutil import copyfile
from typing import TypeVar

from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from logplex.journal.file import JournalFile
from logplex.journal.journal import Journal
from logplex.journal.values import DEFAULT_BOUNDS, JournalBounds, Transaction

_T = TypeVar("_T")


class Disk:
    """A disk that can be full: then no transaction is made, and reading goes on."""

    def __init__(self) -> None:
        self.is_full = False
        self.free = 1 << 62
        self.transactions: list[Transaction] = []

    def open(self, path: str) -> JournalFile:
        """Open a file on this disk."""
        return _FileOn(self, path)


class _FileOn(JournalFile):
    def __init__(self, disk: Disk, path: str) -> None:
        self._disk = disk
        super().__init__(path)

    def write(self, changes: Transaction) -> None:
        if self._disk.is_full:
            raise sqlite3.OperationalError("database or disk is full")
        self._disk.transactions.append(changes)
        super().write(changes)

    def free_bytes(self) -> int:
        return self._disk.free


class CountingReader:
    """A reader that remembers what it was told."""

    def __init__(self) -> None:
        self.wakes = 0
        self.given_up: list[tuple[int, float]] = []

    def rows_came(self) -> None:
        """See :class:`logplex.journal.backlog.BacklogReader`."""
        self.wakes += 1

    def gave_up(self, count: int, since_s: float) -> None:
        """See :class:`logplex.journal.backlog.BacklogReader`."""
        self.given_up.append((count, since_s))

    @property
    def lost(self) -> int:
        """Return how many messages were given up."""
        return sum(count for count, _ in self.given_up)


def at_once(call: Callable[..., _T], *arguments: object) -> Deferred[_T]:
    """Run a blocking call here and now, in place of a thread."""
    answer: Deferred[_T] = execute(call, *arguments)
    return answer


def opened_journal(
    path: str, clock: Clock, disk: Disk | None = None, bounds: JournalBounds = DEFAULT_BOUNDS
) -> Journal:
    """An open journal whose calls answer before they return."""
    journal = Journal(path, at_once, clock, bounds, (disk or Disk()).open)
    failures: list[Failure] = []
    Deferred.fromCoroutine(journal.open()).addErrback(failures.append)
    for failure in failures:
        failure.raiseException()
    return journal


def copy_of_crashed(path: str, to: str) -> None:
    """Copy a journal as a ``kill -9`` of its process leaves it, to be opened elsewhere."""
    for suffix in ("", "-wal"):
        if Path(path + suffix).exists():
            copyfile(path + suffix, to + suffix)
