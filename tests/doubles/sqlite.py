# SPDX-License-Identifier: Apache-2.0

"""
The embedded store without its thread: what is asked is answered before the call returns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from twisted.enterprise.adbapi import ConnectionPool
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from logplex.configuration.schema import connection_pool
from logplex.configuration.sqlite import SqliteConfigStore
from logplex.sqlite_file import IN_MEMORY
from tests.doubles.interfaces import as_reactor


class NoThreads:
    """As much of a reactor and of a thread pool as ``adbapi`` uses."""

    def callWhenRunning(self, call: Callable[[], object]) -> str:
        return "trigger"

    def callFromThread(self, call: Callable[..., object], *args: object) -> None:
        call(*args)

    def removeSystemEventTrigger(self, trigger: str) -> None:
        assert trigger == "trigger"

    def stop(self) -> None:
        """There is nothing to stop."""

    def callInThreadWithCallback(
        self, answer: Callable[..., object], call: Callable[..., object], *args: Any
    ) -> None:
        try:
            result = call(*args)
        except Exception:
            answer(False, Failure())
        else:
            answer(True, result)


def threadless_pool(path: str) -> ConnectionPool:
    """See :func:`connection_pool`."""
    threads = NoThreads()
    pool: Any = connection_pool(path, as_reactor(threads))
    pool.threadpool = threads
    return cast(ConnectionPool, pool)


def threadless_store(clock: IReactorTime, path: str = IN_MEMORY) -> SqliteConfigStore:
    """A store that answers at once."""
    return SqliteConfigStore(path, threadless_pool(path), clock)
