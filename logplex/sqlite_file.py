# SPDX-License-Identifier: Apache-2.0

"""
A file of SQLite: locked for one process, created if it is missing, or said to be unusable.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from functools import partial
from pathlib import Path

from logplex.interfaces import StoreUnusable

#: The path of a database in memory, which is lost at the end of the process.
IN_MEMORY = ":memory:"
#: The errors of a file that cannot be opened; see :func:`unusable`.
OPENING_ERRORS = (OSError, sqlite3.DatabaseError, StoreUnusable)


def unusable(path: str, error: Exception) -> StoreUnusable:
    """Return the error that says in one line why the file cannot be used."""
    code = getattr(error, "sqlite_errorcode", None)
    if isinstance(error, BlockingIOError) or code == sqlite3.SQLITE_BUSY:
        why = "is in use by another process"
    elif isinstance(error, OSError):
        why = f"cannot be opened: {error.strerror}"
    elif code == sqlite3.SQLITE_NOTADB:
        why = "is not an SQLite database"
    else:
        why = f"cannot be used: {error}"
    return StoreUnusable(f"{path} {why}")


@contextmanager
def taken(path: str) -> Iterator[None]:
    """
    Lock the database for this process, and create it and its directory if they are missing.

    Only the owner of the file can read it, since it holds secrets.

    :raise BlockingIOError: another process has locked the database.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).touch(mode=0o600)
    with open(f"{path}.lock", "ab", opener=partial(os.open, mode=0o600)) as lock:
        flock(lock, LOCK_EX | LOCK_NB)
        yield
