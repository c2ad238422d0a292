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
    A thread that runs blocking calls one after another, in the order in which they were requested.

    :param reactor: the reactor in whose thread the results fire.
    """

    def __init__(self, reactor: IReactorFromThreads) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(minthreads=1, maxthreads=1, name="journal")

    def run(self, call: Callable[..., _T], *arguments: object) -> Deferred[_T]:
        """
        Run a blocking call in the thread. The result fires with the result of the call. The first
        call starts the thread.
        """
        if not self._pool.started:
            self._pool.start()
        answer: Deferred[_T] = deferToThreadPool(self._reactor, self._pool, call, *arguments)
        return answer

    def stop(self) -> None:
        """End the thread. The caller must make sure that no call is running."""
        if self._pool.started:
            self._pool.stop()
