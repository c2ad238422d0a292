"""
Waiting for the store: not longer than a client does, and without breaking off what was begun.
"""

from __future__ import annotations

from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from logplex.interfaces import StoreAway

#: A request is answered within two seconds, whatever the store does.
STORE_TIMEOUT_S = 1.8

_log = Logger()

_Result = TypeVar("_Result")


def in_time(asked: Deferred[_Result], clock: IReactorTime) -> Deferred[_Result]:
    """
    The answer, or :class:`StoreAway` if none has come in :data:`STORE_TIMEOUT_S`. What was asked
    is cancelled then, but who does not mind that may go on.
    """
    answer: Deferred[_Result] = Deferred(lambda _: asked.cancel())

    def arrived(result: Any) -> Any:
        if not answer.called:
            answer.callback(result)
            return None
        return _overlook(result)

    def too_slow(result: object, timeout_s: float) -> Any:
        raise StoreAway(f"no answer in {timeout_s} s")

    asked.addBoth(arrived)
    return answer.addTimeout(STORE_TIMEOUT_S, clock, too_slow)


async def unbroken(asked: Deferred[_Result]) -> _Result:
    """
    The answer to what must not be broken off: a change that is on its way into the store, a step
    in the replacement of shards.

    Where a client leaves meanwhile, or has waited too long, the coroutine that awaits this is
    cancelled, but not before the answer is there: so it does not give up its lock while the
    change may still come, and whoever is next sees it.
    """
    answers: list[Any] = []
    waiting: Deferred[None] = Deferred()
    is_cancelled = False

    def arrived(answer: Any) -> None:
        answers.append(answer)
        waiting.callback(None)

    asked.addBoth(arrived)
    while not answers:
        try:
            await waiting
        except CancelledError:
            is_cancelled = True
            waiting = Deferred()
    answer = answers.pop()
    if is_cancelled:
        if _overlook(answer):
            _log.failure("nobody waits any more, but this failed", answer)
        raise CancelledError
    if isinstance(answer, Failure):
        answer.raiseException()
    result: _Result = answer
    return result


def _overlook(late: Any) -> Failure | None:
    """An answer that nobody waits for: ``None``, unless it is a failure that is a bug."""
    is_bug = isinstance(late, Failure) and not late.check(StoreAway, CancelledError)
    return late if is_bug else None
