"""Waiting for the store."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from logplex.api.waiting import STORE_TIMEOUT_S, in_time, unbroken
from logplex.interfaces import StoreAway


class InTimeTests(SynchronousTestCase):
    """``in_time``"""

    def setUp(self) -> None:
        self.clock = Clock()
        self.asked: Deferred[str] = Deferred()
        self.answer = in_time(self.asked, self.clock)

    def test_answer(self) -> None:
        self.asked.callback("x")
        self.assertEqual("x", self.successResultOf(self.answer))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_failure(self) -> None:
        self.asked.errback(RuntimeError())
        self.failureResultOf(self.answer, RuntimeError)

    def test_too_late(self) -> None:
        """What comes later is for nobody."""
        self.clock.advance(STORE_TIMEOUT_S)
        self.failureResultOf(self.answer, StoreAway)
        self.assertTrue(self.asked.called)

    def test_bug_too_late(self) -> None:
        """A failure that is a bug is logged, though nobody waits for it."""
        asked: Deferred[str] = Deferred(lambda _: None)
        doing = Deferred.fromCoroutine(unbroken(asked))
        clock = Clock()
        answer = in_time(doing, clock)
        clock.advance(STORE_TIMEOUT_S)
        self.failureResultOf(answer, StoreAway)
        asked.errback(RuntimeError())
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))

    def test_client_left(self) -> None:
        self.answer.cancel()
        self.failureResultOf(self.answer, CancelledError)


class UnbrokenTests(SynchronousTestCase):
    """``unbroken``"""

    def setUp(self) -> None:
        self.asked: Deferred[str] = Deferred()
        self.steps: list[str] = []
        self.doing = Deferred.fromCoroutine(self.do())

    async def do(self) -> str:
        try:
            return await unbroken(self.asked)
        finally:
            self.steps.append("given up")

    def test_answer(self) -> None:
        self.asked.callback("x")
        self.assertEqual("x", self.successResultOf(self.doing))

    def test_failure(self) -> None:
        self.asked.errback(StoreAway())
        self.failureResultOf(self.doing, StoreAway)

    def test_cancelled(self) -> None:
        """It ends when the answer is there, and not before."""
        self.doing.cancel()
        self.assertEqual([], self.steps)
        self.asked.callback("x")
        self.assertEqual(["given up"], self.steps)
        self.failureResultOf(self.doing, CancelledError)

    def test_cancelled_and_failed(self) -> None:
        """A store that goes away then is no news."""
        self.doing.cancel()
        self.asked.errback(StoreAway())
        self.failureResultOf(self.doing, CancelledError)

    def test_bound(self) -> None:
        """The client has its answer in time all the same."""
        clock = Clock()
        answer = in_time(self.doing, clock)
        clock.advance(STORE_TIMEOUT_S)
        self.failureResultOf(answer, StoreAway)
        self.assertEqual([], self.steps)
        self.asked.callback("x")
        self.assertEqual(["given up"], self.steps)
