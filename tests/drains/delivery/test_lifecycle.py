# SPDX-License-Identifier: Apache-2.0

"""The life of a drain with a connection: every transition, and every time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from logplex.drains.delivery.buffer import Buffer
from logplex.drains.delivery.courier import (
    Courier,
    Postponed,
    ReceiverAway,
    ReceiverConnection,
    Reports,
)
from logplex.drains.delivery.lifecycle import Lifecycle
from logplex.drains.delivery.pace import Linger, Pace
from logplex.drains.delivery.states import Phase
from logplex.metrics import Counters
from tests.doubles.receivers import MiddleRandom, StubConnection, StubCourier

PACE = Pace(
    connect_timeout_s=3.0,
    linger=Linger(0.05, 0.05),
    linger_messages=4,
    idle_s=100.0,
    idle_jitter_s=10.0,
    max_age_s=1_000.0,
)


class LifecycleCase(SynchronousTestCase):
    """A drain with an empty buffer, started."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.buffer = Buffer(self.clock, Counters(), 100, lambda _: None)
        self.courier = StubCourier()
        self.made = 0
        self.life = self.make_life()

    def make_life(self, on_refused: Callable[[Failure], None] = lambda why: None) -> Lifecycle:
        life = Lifecycle(self.make_courier, self.buffer, self.clock, MiddleRandom(), on_refused)
        self.buffer.wake = life.offer
        return life

    def make_courier(self, reports: Reports) -> tuple[Courier[Any], Pace]:
        self.reports = reports
        self.made += 1
        return self.courier, PACE

    def push(self, count: int = 1) -> None:
        self.buffer.push([b"message"] * count)

    def turn(self) -> None:
        """Let the reactor turn once."""
        self.clock.advance(0)

    def take_all(self) -> None:
        """Let all buffered messages be sent."""
        self.buffer.messages.clear()

    def sending(self) -> StubConnection:
        """A drain that sends its first message."""
        self.push()
        self.turn()
        return self.courier.accept()

    def connected(self) -> StubConnection:
        """A drain that has sent its first message."""
        connection = self.sending()
        self.take_all()
        self.reports.finished()
        return connection

    def lingering(self) -> StubConnection:
        """A drain that has sent something, and waits for company for the next."""
        connection = self.sending()
        self.reports.finished()
        return connection

    def failing(self) -> None:
        """A drain that waits for its next attempt."""
        self.push()
        self.turn()
        self.courier.attempts[-1].errback(Failure(ConnectionRefusedError()))

    def assert_phase(self, phase: Phase) -> None:
        self.assertIs(self.life.phase, phase)

    def assert_no_timers(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])


class Connecting(LifecycleCase):
    def test_nothing_to_send(self) -> None:
        """A drain without messages makes no connection and keeps no timer."""
        self.assert_phase(Phase.RESTING)
        self.assertEqual(self.courier.attempts, [])
        self.assert_no_timers()

    def test_first_message(self) -> None:
        """The first message makes a connection, in the next turn of the reactor."""
        self.push()
        self.assertEqual(self.courier.attempts, [])
        self.turn()
        self.assertEqual(len(self.courier.attempts), 1)
        self.assert_phase(Phase.CONNECTING)

    def test_messages_that_were_there(self) -> None:
        """A drain that is started with a buffer that holds something connects."""
        self.buffer.wake = lambda: None
        self.push()
        self.make_life().offer()
        self.turn()
        self.assertEqual(len(self.courier.attempts), 1)

    def test_one_attempt_at_a_time(self) -> None:
        self.push()
        self.turn()
        self.push()
        self.turn()
        self.assertEqual(len(self.courier.attempts), 1)

    def test_connected(self) -> None:
        """A connection is used at once."""
        self.assertEqual(self.sending().asked, ["send"])
        self.assert_phase(Phase.SENDING)
        self.assert_no_timers()

    def test_refused(self) -> None:
        """After an attempt that failed the courier says how long to wait."""
        self.failing()
        self.assert_phase(Phase.WAITING)
        self.assertEqual(self.life.next_attempt, self.clock.seconds() + 7)
        self.clock.advance(6.9)
        self.assertEqual(len(self.courier.attempts), 1)
        self.clock.advance(0.1)
        self.assertEqual(len(self.courier.attempts), 2)
        self.assertIsNone(self.life.next_attempt)

    def test_refused_is_told(self) -> None:
        """The callback gets the reason; its failure does not stop the drain."""
        self.life = self.make_life(lambda why: why.raiseException())
        self.failing()
        self.assertEqual(len(self.flushLoggedErrors(ConnectionRefusedError)), 1)
        self.assert_phase(Phase.WAITING)

    def test_timeout(self) -> None:
        """An attempt that takes too long is one that failed."""
        self.push()
        self.turn()
        self.clock.advance(3)
        self.assert_phase(Phase.WAITING)
        self.assertIsInstance(self.courier.refusals[0].value, DeferredTimeout)

    def test_messages_while_waiting(self) -> None:
        """New messages make no attempt come earlier."""
        self.failing()
        self.push(50)
        self.clock.advance(6.9)
        self.assertEqual(len(self.courier.attempts), 1)


class Parking(LifecycleCase):
    """Waits that other drains cause, or end."""

    def end_attempt(self, reason: Exception) -> None:
        self.push()
        self.turn()
        self.courier.attempts[-1].errback(Failure(reason))
        self.assert_phase(Phase.WAITING)

    def assert_next_after(self, seconds: float) -> None:
        before = len(self.courier.attempts)
        self.clock.advance(seconds - 0.01)
        self.assertEqual(len(self.courier.attempts), before)
        self.clock.advance(0.011)
        self.assertEqual(len(self.courier.attempts), before + 1)

    def test_postponed(self) -> None:
        """An attempt that has to wait for its turn is no failure."""
        self.end_attempt(Postponed(0.5))
        self.assertEqual(self.courier.refusals, [])
        self.assert_next_after(0.5)

    def test_away(self) -> None:
        """The drain waits as long as the courier says, or longer if another drain has failed."""
        self.end_attempt(ReceiverAway(Failure(ConnectionRefusedError()), 20.0))
        [why] = self.courier.refusals
        self.assertIsInstance(why.value, ConnectionRefusedError)
        self.assert_next_after(20.0)

    def test_reachable(self) -> None:
        """It connects earlier when it is told that the receiver is there."""
        self.end_attempt(ReceiverAway(Failure(ConnectionRefusedError()), 20.0))
        self.life.reachable(0.3)
        self.assert_next_after(0.3)

    def test_other_waits(self) -> None:
        """A wait that the receiver asked for, or that follows an own failure, goes on."""
        self.failing()
        self.life.reachable(0.3)
        self.assert_next_after(7)

    def test_nothing_waits(self) -> None:
        connection = self.connected()
        self.life.reachable(0.0)
        self.assert_phase(Phase.CONNECTED)
        self.assertEqual(connection.asked, ["send"])


class Sending(LifecycleCase):
    def test_all_sent(self) -> None:
        self.connected()
        self.assert_phase(Phase.CONNECTED)

    def test_first_after_a_quiet_moment(self) -> None:
        """It leaves at once."""
        connection = self.connected()
        self.clock.advance(0.05)
        self.push()
        self.turn()
        self.assertEqual(connection.asked, ["send", "send"])

    def test_lingers_while_busy(self) -> None:
        """Less than the linger after the last batch, messages wait for company."""
        connection = self.connected()
        self.clock.advance(0.02)
        self.push()
        self.assert_phase(Phase.LINGERING)
        self.clock.advance(0.02)
        self.assertEqual(connection.asked, ["send"])
        self.clock.advance(0.01)
        self.assertEqual(connection.asked, ["send", "send"])

    def test_more_waits(self) -> None:
        """Messages that came while a batch was on its way leave when the linger is over."""
        connection = self.lingering()
        self.assert_phase(Phase.LINGERING)
        self.clock.advance(0.05)
        self.assertEqual(connection.asked, ["send", "send"])
        self.assert_no_timers()

    def test_enough(self) -> None:
        """As much as fills a batch does not wait."""
        connection = self.lingering()
        self.push(2)
        self.assert_phase(Phase.LINGERING)
        self.push()
        self.assertEqual(connection.asked, ["send", "send"])
        self.assert_no_timers()

    def test_enough_waits_already(self) -> None:
        connection = self.sending()
        self.push(3)
        self.reports.finished()
        self.turn()
        self.assertEqual(connection.asked, ["send", "send"])

    def test_half_full(self) -> None:
        """Messages that fill half of a small buffer do not wait: more might not find room."""
        self.buffer.limit = 6
        connection = self.lingering()
        self.push()
        self.assert_phase(Phase.LINGERING)
        self.push()
        self.assertEqual(connection.asked, ["send", "send"])

    def test_at_once(self) -> None:
        """Messages that a full batch left behind follow without a linger."""
        connection = self.sending()
        self.reports.finished(at_once=True)
        self.assertEqual(connection.asked, ["send", "send"])
        self.assert_phase(Phase.SENDING)

    def test_one_at_a_time(self) -> None:
        """Nothing is sent before what was sent is settled."""
        connection = self.sending()
        self.push(50)
        self.clock.advance(10)
        self.assertEqual(connection.asked, ["send"])

    def test_bug(self) -> None:
        """A bug while sending is logged, and costs this drain its connection."""
        self.push()
        self.turn()
        self.courier.broken = True
        connection = self.courier.accept()
        self.assertEqual(connection.asked[:2], ["send", "abort"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assert_phase(Phase.WAITING)


class Ending(LifecycleCase):
    """The ends of connections."""

    def test_lost_while_quiet(self) -> None:
        """There is nothing to send, so there is no need of another."""
        connection = self.connected()
        self.reports.over()
        self.assertEqual(connection.asked, ["send", "close"])
        self.assert_phase(Phase.RESTING)
        self.assert_no_timers()

    def test_next_after_lost(self) -> None:
        """A message makes a new one, but not before the courier allows it."""
        self.connected()
        self.reports.over(delay_s=2.0)
        self.push()
        self.clock.advance(1.9)
        self.assertEqual(len(self.courier.attempts), 1)
        self.clock.advance(0.1)
        self.assertEqual(len(self.courier.attempts), 2)

    def test_lost_while_lingering(self) -> None:
        """Waiting messages go over a new one, when they would have gone over this one."""
        self.lingering()
        self.reports.over()
        self.clock.advance(0.04)
        self.assertEqual(len(self.courier.attempts), 1)
        self.clock.advance(0.01)
        self.assertEqual(len(self.courier.attempts), 2)
        self.assertEqual(self.courier.accept().asked, ["send"])

    def test_over_with_something_under_way(self) -> None:
        """Messages under way go over a new one, when the courier allows it."""
        self.sending()
        self.take_all()
        self.courier.under_way = True
        self.reports.over(delay_s=1.0)
        self.assert_phase(Phase.WAITING)
        self.clock.advance(1.0)
        self.assertEqual(self.courier.accept().asked, ["send"])

    def test_over_and_all_sent(self) -> None:
        self.sending()
        self.take_all()
        self.reports.over()
        self.assert_phase(Phase.RESTING)

    def test_over_after_every_batch(self) -> None:
        """A receiver that ends every connection gets batches no more often than others."""
        self.sending()
        self.take_all()
        self.reports.over()
        self.push()
        self.clock.advance(0.04)
        self.assertEqual(len(self.courier.attempts), 1)
        self.clock.advance(0.01)
        self.assertEqual(len(self.courier.attempts), 2)

    def test_idle(self) -> None:
        """A connection that is not used is closed after the idle time and some at random."""
        connection = self.connected()
        self.clock.advance(104.9)
        self.assertEqual(connection.asked, ["send"])
        self.clock.advance(0.1)
        self.assertEqual(connection.asked, ["send", "close"])
        self.assert_phase(Phase.RESTING)
        self.assert_no_timers()

    def test_used_is_not_idle(self) -> None:
        connection = self.connected()
        self.clock.advance(104)
        self.push()
        self.turn()
        self.take_all()
        self.reports.finished()
        self.clock.advance(104)
        self.assertEqual(connection.asked, ["send", "send"])

    def test_old_and_busy(self) -> None:
        """A connection that is old is closed after what was being sent."""
        connection = self.sending()
        self.clock.advance(1_000)
        self.reports.finished(at_once=True)
        self.assertEqual(connection.asked, ["send", "close"])
        self.turn()
        self.assertEqual(len(self.courier.attempts), 2)

    def test_old_and_quiet(self) -> None:
        """The age ends a quiet connection too, before it was idle for long."""
        connection = self.sending()
        self.clock.advance(990)
        self.take_all()
        self.reports.finished()
        self.clock.advance(10)
        self.assertEqual(connection.asked, ["send", "close"])


class Stopping(LifecycleCase):
    """Stopping sends what there is; the result says when nothing will be sent any more."""

    def test_resting(self) -> None:
        self.successResultOf(self.life.stop(5))
        self.assert_phase(Phase.STOPPED)
        self.assert_no_timers()

    def test_quiet(self) -> None:
        connection = self.connected()
        self.successResultOf(self.life.stop(5))
        self.assertEqual(connection.asked, ["send", "close"])
        self.assert_no_timers()

    def test_lingering(self) -> None:
        """Lingering messages are sent at once."""
        connection = self.lingering()
        stopped = self.life.stop(5)
        self.assertEqual(connection.asked, ["send", "send"])
        self.take_all()
        self.reports.finished()
        self.successResultOf(stopped)
        self.assertEqual(connection.asked, ["send", "send", "close"])

    def test_sending(self) -> None:
        """The stop waits for what is being sent, and for what waits behind it, without linger."""
        connection = self.sending()
        stopped = self.life.stop(5)
        self.reports.finished()
        self.turn()
        self.assertEqual(connection.asked, ["send", "send"])
        self.assertNoResult(stopped)
        self.take_all()
        self.reports.finished()
        self.successResultOf(stopped)
        self.assert_no_timers()

    def test_connecting(self) -> None:
        """A connection that is being made is waited for."""
        self.push()
        self.turn()
        stopped = self.life.stop(5)
        self.assertEqual(self.courier.accept().asked, ["send"])
        self.take_all()
        self.reports.finished()
        self.successResultOf(stopped)

    def test_waiting(self) -> None:
        """A drain that waits for its next attempt makes it now, but no more often after that."""
        self.failing()
        stopped = self.life.stop(5)
        self.turn()
        self.assertEqual(len(self.courier.attempts), 2)
        self.courier.attempts[-1].errback(Failure(ConnectionRefusedError()))
        self.clock.advance(4.9)
        self.assertEqual(len(self.courier.attempts), 2)
        self.assertNoResult(stopped)

    def test_connection_over(self) -> None:
        self.sending()
        stopped = self.life.stop(5)
        self.take_all()
        self.reports.over()
        self.successResultOf(stopped)
        self.assert_no_timers()

    def assert_abandons(self) -> None:
        """After its time a stop is a stop, and what was under way is in the buffer again."""
        stopped = self.life.stop(5)
        self.clock.pump([0.5] * 9)
        self.assertNoResult(stopped)
        self.clock.advance(0.5)
        self.successResultOf(stopped)
        self.assert_phase(Phase.STOPPED)
        self.assertEqual(self.courier.recalled, 1)
        self.assert_no_timers()

    def test_abandons_waiting(self) -> None:
        self.failing()
        self.courier.backoff_s = 60
        stopped = self.life.stop(5)
        self.turn()
        self.courier.attempts[-1].errback(Failure(ConnectionRefusedError()))
        self.clock.advance(5)
        self.successResultOf(stopped)
        self.assert_no_timers()

    def test_abandons_connecting(self) -> None:
        self.courier.backoff_s = 0
        self.push()
        self.turn()
        self.assert_abandons()

    def test_abandons_sending(self) -> None:
        connection = self.sending()
        self.assert_abandons()
        self.assertEqual(connection.asked, ["send", "abort"])

    def test_no_wake_afterwards(self) -> None:
        """A drain that has stopped takes no notice of its buffer."""
        self.successResultOf(self.life.stop(5))
        self.push(50)
        self.assert_no_timers()
        self.assertEqual(self.flushLoggedErrors(), [])


class Moving(LifecycleCase):
    """A drain gets another courier at the next moment at which nothing is being sent."""

    def assert_moved(self, phase: Phase) -> None:
        self.assertEqual((self.made, self.courier.recalled), (2, 1))
        self.assert_phase(phase)

    def assert_next(self) -> None:
        """Buffered messages go over a connection of the new courier, at once."""
        attempts = len(self.courier.attempts)
        self.turn()
        self.assertEqual(len(self.courier.attempts), attempts + 1)
        self.assertEqual(self.courier.accept().asked, ["send"])

    def test_resting(self) -> None:
        self.life.move()
        self.assert_moved(Phase.RESTING)

    def test_connected(self) -> None:
        connection = self.connected()
        self.life.move()
        self.assertEqual(connection.asked, ["send", "close"])
        self.assert_moved(Phase.RESTING)
        self.assert_no_timers()

    def test_lingering(self) -> None:
        connection = self.lingering()
        self.life.move()
        self.assertEqual(connection.asked, ["send", "close"])
        self.assert_moved(Phase.WAITING)
        self.assert_next()

    def test_waiting(self) -> None:
        """The failures of the old receiver are not the new one's."""
        self.failing()
        self.life.move()
        self.assert_moved(Phase.WAITING)
        self.assert_next()

    def test_connecting(self) -> None:
        """The attempt is given up, and does not count as a failure of the receiver."""
        self.push()
        self.turn()
        self.life.move()
        self.assertEqual(self.courier.refusals, [])
        self.assert_moved(Phase.WAITING)
        self.assert_next()

    def assert_means_nothing(self, outcome: Any) -> None:
        """The result of an attempt that was given up changes nothing."""
        self.courier.cancelled = lambda attempt: attempt.callback(outcome)
        self.push()
        self.turn()
        self.life.move()
        self.assertEqual(self.courier.refusals, [])
        self.assert_moved(Phase.WAITING)

    def test_connecting_fails_otherwise(self) -> None:
        """An attempt that is given up may fail in any way: a lookup says "not found"."""
        self.assert_means_nothing(Failure(ConnectionRefusedError()))

    def test_connecting_succeeds_anyway(self) -> None:
        connection = StubConnection()
        self.assert_means_nothing(connection)
        self.assertEqual(connection.asked, ["abort"])

    def test_sending(self) -> None:
        """The old courier settles what is being sent, and sends nothing else."""
        connection = self.sending()
        self.life.move()
        self.assertEqual(self.made, 1)
        self.assert_phase(Phase.RETIRING)
        self.reports.finished(at_once=True)
        self.assertEqual(connection.asked, ["send", "close"])
        self.assert_moved(Phase.WAITING)
        self.assert_next()

    def test_sending_twice(self) -> None:
        """Two moves while something is being sent are one."""
        self.sending()
        self.life.move()
        self.life.move()
        self.reports.finished()
        self.assert_moved(Phase.WAITING)

    def test_sending_fails(self) -> None:
        """The new courier does not wait for what the old receiver asked for."""
        self.sending()
        self.courier.under_way = True
        self.life.move()
        self.reports.over(delay_s=1)
        self.assert_moved(Phase.WAITING)
        self.assert_next()

    def test_sending_all(self) -> None:
        self.sending()
        self.life.move()
        self.take_all()
        self.reports.over()
        self.assert_moved(Phase.RESTING)
        self.assert_no_timers()

    def test_then_stop(self) -> None:
        """A stop while the old courier settles ends no later than the stop's time."""
        connection = self.sending()
        self.life.move()
        stopped = self.life.stop(5)
        self.clock.advance(5)
        self.assertEqual(self.successResultOf(stopped), 1)
        self.assertEqual(connection.asked, ["send", "abort"])

    def test_then_stop_in_time(self) -> None:
        """The new receiver gets what is left, within what is left of the stop's time."""
        self.sending()
        self.life.move()
        stopped = self.life.stop(5)
        self.clock.advance(2)
        self.reports.finished()
        self.assert_next()
        self.clock.advance(3)
        self.assertEqual(self.successResultOf(stopped), 1)

    def test_stopped(self) -> None:
        self.successResultOf(self.life.stop(5))
        self.life.move()
        self.assertEqual(self.made, 1)
        self.assert_phase(Phase.STOPPED)


class Contracts(SynchronousTestCase):
    def test_doubles(self) -> None:
        """The doubles are what they stand for (mypy sees to it)."""
        connection: ReceiverConnection = StubConnection()
        courier: Courier[StubConnection] = StubCourier()
        self.assertFalse(courier.under_way)
        connection.close()
