"""A drain's buffer: what it keeps, what it drops, and that it counts every message once."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from logplex.drains.delivery.buffer import Buffer, Loss
from logplex.interfaces import IOutlet
from logplex.metrics import Counters

NOTICE = b"<172>1 2026-11-22T08:48:05.472588+00:00 host heroku logplex - - Error L10 (...)\n"


def numbered(first: int, count: int) -> list[bytes]:
    return [b"%d" % number for number in range(first, first + count)]


class BufferTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.counters = Counters()
        self.losses: list[int] = []
        self.buffer = Buffer(self.clock, self.counters, 4, self.losses.append)

    def test_outlet(self) -> None:
        verifyObject(IOutlet, self.buffer)

    def test_keeps_order(self) -> None:
        """Messages wait in the order in which they came, and nothing is lost."""
        self.buffer.push([b"1", b"2"])
        self.buffer.push([b"3"])
        self.assertEqual(list(self.buffer.messages), [b"1", b"2", b"3"])
        self.assertIsNone(self.buffer.loss)

    def test_drops_oldest(self) -> None:
        """What is too much pushes out the oldest; the time of the first loss is kept."""
        self.clock.advance(7)
        self.buffer.push(numbered(1, 5))
        self.clock.advance(1)
        self.buffer.push(numbered(6, 2))
        self.assertEqual(list(self.buffer.messages), numbered(4, 4))
        self.assertEqual(self.buffer.loss, Loss(3, 7.0))
        self.assertEqual((self.buffer.received, self.buffer.dropped), (7, 3))
        self.assertEqual(self.counters.drain_dropped, 3)
        self.assertEqual(self.losses, [1, 2])

    def test_push_of_more_than_it_holds(self) -> None:
        self.buffer.push([b"old"])
        self.buffer.push(numbered(0, 9))
        self.assertEqual(list(self.buffer.messages), numbered(5, 4))
        self.assertEqual(self.buffer.dropped, 6)

    def test_list_stays_the_callers(self) -> None:
        pushed = [b"1"]
        self.buffer.push(pushed)
        pushed.clear()
        self.assertEqual(list(self.buffer.messages), [b"1"])

    def test_shrink(self) -> None:
        """A smaller limit drops at once what is too much."""
        self.buffer.push(numbered(0, 4))
        self.buffer.resize(1)
        self.assertEqual(list(self.buffer.messages), [b"3"])
        self.assertEqual(self.buffer.loss, Loss(3, 0.0))

    def test_lost_notices_are_not_told(self) -> None:
        """A notice's own loss counts, but nobody is to be told of it: two drains that are both
        down would tell each other for ever."""
        self.buffer.push([NOTICE] * 4)
        self.buffer.push([b"1", b"2"])
        self.assertEqual(self.buffer.loss, Loss(2, 0.0))
        self.assertEqual(self.losses, [])

    def test_returned_loss(self) -> None:
        """A loss that the receiver was not told of after all joins what was lost since."""
        self.buffer.push(numbered(0, 6))
        told = self.buffer.take_loss()
        self.clock.advance(1)
        self.buffer.push(numbered(0, 1))
        self.buffer.return_loss(told)
        self.assertEqual(self.buffer.loss, Loss(3, 0.0))

    def test_wakes(self) -> None:
        """Whoever sends is woken when as much waits as it asked for."""
        woken: list[int] = []
        self.buffer.wake = lambda: woken.append(len(self.buffer.messages))
        self.buffer.push([b"1"])
        self.buffer.wake_at = 3
        self.buffer.push([b"2"])
        self.buffer.push([b"3"])
        self.assertEqual(woken, [3])

    def test_wakes_before_it_drops(self) -> None:
        """Whoever sends takes what would have been dropped."""
        taken: list[bytes] = []
        self.buffer.wake = lambda: taken.append(self.buffer.messages.popleft())
        self.buffer.wake_at = 1
        self.buffer.push(numbered(0, 5))
        self.assertEqual(taken, [b"0"])
        self.assertEqual((len(self.buffer.messages), self.buffer.dropped), (4, 0))

    def test_wake_fails(self) -> None:
        """A bug in whoever sends does not reach whoever pushes."""
        self.buffer.wake = lambda: 1 / 0  # type: ignore[assignment]
        self.buffer.wake_at = 1
        self.buffer.push([b"1"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_clear(self) -> None:
        """What is given up is counted as lost."""
        self.buffer.push(numbered(0, 3))
        self.assertEqual(self.buffer.clear(), 3)
        self.assertEqual((self.buffer.buffered, self.buffer.dropped), (0, 3))


class Accounting(RuleBasedStateMachine):
    """Whatever happens, in whatever order: the sums are right and the order is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.counters = Counters()
        self.told = 0
        self.buffer = Buffer(Clock(), self.counters, 5, self.lost)
        self.taken: list[bytes] = []
        self.taken_loss: Loss | None = None
        self.told_receiver = 0
        self.next = 0

    def lost(self, count: int) -> None:
        self.told += count

    @rule(count=st.integers(1, 12))
    def push(self, count: int) -> None:
        self.buffer.push(numbered(self.next, count))
        self.next += count

    @precondition(lambda self: not (self.taken or self.taken_loss))
    @rule(count=st.integers(1, 5), unparsable=st.integers(0, 2))
    def take(self, count: int, unparsable: int) -> None:
        queue = self.buffer.messages
        taken = [queue.popleft() for _ in range(min(count, len(queue)))]
        unparsable = min(unparsable, len(taken))
        self.taken = taken[unparsable:]
        self.buffer.took(len(self.taken), unparsable)
        self.taken_loss = self.buffer.take_loss()

    @rule()
    def deliver(self) -> None:
        self.buffer.deliver(len(self.taken))
        self.told_receiver += self.taken_loss.count if self.taken_loss else 0
        self.taken, self.taken_loss = [], None

    @rule()
    def lose(self) -> None:
        self.buffer.lose(self.taken)
        self.buffer.return_loss(self.taken_loss)
        self.taken, self.taken_loss = [], None

    @rule()
    def put_back(self) -> None:
        self.buffer.put_back(self.taken)
        self.buffer.return_loss(self.taken_loss)
        self.taken, self.taken_loss = [], None

    @rule(limit=st.integers(1, 8))
    def resize(self, limit: int) -> None:
        self.buffer.resize(limit)

    @rule()
    def clear(self) -> None:
        self.buffer.clear()

    @invariant()
    def sums(self) -> None:
        buffer = self.buffer
        assert buffer.received == self.next
        assert buffer.received == buffer.delivered + buffer.dropped + buffer.buffered
        assert buffer.in_flight == len(self.taken)
        assert self.counters.drain_delivered == buffer.delivered
        assert self.counters.drain_dropped == buffer.dropped
        lost = buffer.dropped - buffer.unparsable
        assert self.told == lost
        told_now = self.taken_loss.count if self.taken_loss else 0
        assert lost == self.told_receiver + told_now + (buffer.loss.count if buffer.loss else 0)

    @invariant()
    def bounded_and_in_order(self) -> None:
        numbers = [int(message) for message in self.buffer.messages]
        assert len(numbers) <= self.buffer.limit
        assert numbers == sorted(set(numbers))


class AccountingTests(SynchronousTestCase):
    def test_accounting(self) -> None:
        """Every message is delivered, dropped or buffered, always."""
        run_state_machine_as_test(
            Accounting,
            settings=settings(deadline=None, max_examples=100, stateful_step_count=30),
        )
