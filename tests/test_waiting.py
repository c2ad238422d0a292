# SPDX-License-Identifier: Apache-2.0

"""``logplex.waiting``: a bound on waiting, and operations that are not broken off."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from logplex.interfaces import StoreAway
from logplex.waiting import STORE_TIMEOUT_S, in_time, together, unbroken, within


class Late(Exception):
    """The meaning that a test gives to a timeout."""


class WithinTests(SynchronousTestCase):
    """``within``"""

    def setUp(self) -> None:
        self.clock = Clock()
        self.cancelled: list[Deferred[str]] = []
        self.awaited: Deferred[str] = Deferred(self.cancelled.append)
        self.late = Late()
        self.answer = within(self.awaited, 3.0, self.clock, self.late)

    def test_timeout(self) -> None:
        """The caller's own exception is the failure, and the operation is cancelled."""
        self.clock.advance(2.9)
        self.assertNoResult(self.answer)
        self.clock.advance(0.1)
        self.assertIs(self.late, self.failureResultOf(self.answer, Late).value)
        self.assertEqual([self.awaited], self.cancelled)

    def test_last_moment(self) -> None:
        self.clock.advance(2.9)
        self.awaited.callback("x")
        self.assertEqual("x", self.successResultOf(self.answer))
        self.assertEqual([], self.clock.getDelayedCalls())


class TogetherTests(SynchronousTestCase):
    """``together``"""

    def test_order(self) -> None:
        """Results stand in the order of the coroutines, whichever ends first."""
        waits: list[Deferred[int]] = [Deferred(), Deferred()]

        async def wait(result: Deferred[int]) -> int:
            return await result

        doing = together(map(wait, waits))
        waits[1].callback(2)
        self.assertNoResult(doing)
        waits[0].callback(1)
        self.assertEqual([1, 2], self.successResultOf(doing))


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
        """The store's answer is dropped when it comes too late."""
        self.clock.advance(STORE_TIMEOUT_S)
        self.failureResultOf(self.answer, StoreAway)
        self.assertTrue(self.asked.called)

    def test_bug_too_late(self) -> None:
        """A failure that is a bug is logged, although its caller has left."""
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
        """A cancelled coroutine ends only after the answer has arrived."""
        self.doing.cancel()
        self.assertEqual([], self.steps)
        self.asked.callback("x")
        self.assertEqual(["given up"], self.steps)
        self.failureResultOf(self.doing, CancelledError)

    def test_cancelled_and_failed(self) -> None:
        """A store that is away is not logged as a bug after the caller has left."""
        self.doing.cancel()
        self.asked.errback(StoreAway())
        self.failureResultOf(self.doing, CancelledError)

    def test_bound(self) -> None:
        """The client gets its refusal in time; the operation goes on."""
        clock = Clock()
        answer = in_time(self.doing, clock)
        clock.advance(STORE_TIMEOUT_S)
        self.failureResultOf(answer, StoreAway)
        self.assertEqual([], self.steps)
        self.asked.callback("x")
        self.assertEqual(["given up"], self.steps)
