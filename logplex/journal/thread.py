# SPDX-License-Identifier: Apache-2.0

"""
One thread that runs the blocking calls of a journal's file, one after another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

_T = TypeVar("_T")


class OneThread:
    """
    Run blocking calls in one thread, in the order of the requests.

    :param reactor: results fire in the thread of this reactor.
    """

    def __init__(self, reactor: IReactorFromThreads) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(minthreads=1, maxthreads=1, name="journal")

    def run(self, call: Callable[..., _T], *arguments: object) -> Deferred[_T]:
        """Run a call in the thread, and fire with its result. The first call starts the thread."""
        if not self._pool.started:
            self._pool.start()
        answer: Deferred[_T] = deferToThreadPool(self._reactor, self._pool, call, *arguments)
        return answer

    def stop(self) -> None:
        """End the thread. No call may be running."""
        if self._pool.started:
            self._pool.stop()
