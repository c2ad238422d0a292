# SPDX-License-Identifier: Apache-2.0

"""The file of a SQLite database: it is created if it is missing, and locked for one process."""

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
    """Return the error that says in one line why a SQLite file cannot be used."""
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
    Lock a SQLite file for this process. If the file or its directory is missing, create it.

    Only the owner can read the file, since it contains secrets.

    :raise BlockingIOError: another process has locked the file.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).touch(mode=0o600)
    with open(f"{path}.lock", "ab", opener=partial(os.open, mode=0o600)) as lock:
        flock(lock, LOCK_EX | LOCK_NB)
        yield
