# SPDX-License-Identifier: Apache-2.0

"""
Ways to wait for a result: with a timeout, without cancelling a change, and for several results.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from logplex.interfaces import StoreAway

#: The store must answer within this time, so that a request is answered within two seconds.
STORE_TIMEOUT_S = 1.8

_log = Logger()

_T = TypeVar("_T")


def within(
    awaited: Deferred[_T], seconds: float, clock: IReactorTime, late: Exception
) -> Deferred[_T]:
    """
    Return the result of an operation, or fail after a number of seconds.

    On a timeout the operation is cancelled. The operation is also cancelled if the returned
    Deferred is cancelled. An operation that ignores the cancellation continues, but its result is
    dropped. A late failure is logged if it is a bug.

    :param late: the failure on a timeout, which tells the caller what the timeout means.
    """
    answer: Deferred[_T] = Deferred(lambda _: awaited.cancel())

    def arrived(result: Any) -> Any:
        if not answer.called:
            answer.callback(result)
            return None
        return _bug_in(result)

    def timed_out(result: object, seconds: float) -> Any:
        raise late

    awaited.addBoth(arrived)
    return answer.addTimeout(seconds, clock, timed_out)


def in_time(awaited: Deferred[_T], clock: IReactorTime) -> Deferred[_T]:
    """
    Return the answer of the store, for a request that cannot wait longer than
    :data:`STORE_TIMEOUT_S`.

    :raise StoreAway: the store did not answer in this time.
    """
    late = StoreAway(f"no answer in {STORE_TIMEOUT_S} s")
    return within(awaited, STORE_TIMEOUT_S, clock, late)


async def unbroken(awaited: Deferred[_T]) -> _T:
    """
    Return the result of an operation that must not be cancelled, such as a change in the store or a
    step of a replacement of shards.

    If the client leaves or its request times out, the waiting coroutine is cancelled. This
    cancellation takes effect only after the result has arrived. So the coroutine keeps its lock
    while the change may still happen, and the next holder of the lock sees the change.
    """
    answers: list[Any] = []
    waiting: Deferred[None] = Deferred()
    is_cancelled = False

    def arrived(answer: Any) -> None:
        answers.append(answer)
        waiting.callback(None)

    awaited.addBoth(arrived)
    while not answers:
        try:
            await waiting
        except CancelledError:
            is_cancelled = True
            waiting = Deferred()
    answer = answers.pop()
    if is_cancelled:
        if _bug_in(answer):
            _log.failure("an operation failed after its caller had left", answer)
        raise CancelledError
    if isinstance(answer, Failure):
        answer.raiseException()
    result: _T = answer
    return result


def together(conversations: Iterable[Coroutine[Deferred[Any], Any, _T]]) -> Deferred[list[_T]]:
    """
    Run several coroutines at the same time. The result fires with all their results, in order, when
    the last coroutine has ended.
    """
    return gatherResults(list(map(Deferred.fromCoroutine, conversations)), consumeErrors=True)


def _bug_in(late: Any) -> Failure | None:
    """Return a late failure if it is a bug. Return ``None`` for all other late results."""
    is_bug = isinstance(late, Failure) and not late.check(StoreAway, CancelledError)
    return late if is_bug else None
