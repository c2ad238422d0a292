# SPDX-License-Identifier: Apache-2.0

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

from logplex.drains.delivery.buffer import Buffer, SharedBuffer
from logplex.drains.delivery.courier import Loss
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
        """A message too many pushes out the oldest; the time of the first loss is kept."""
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

    def test_lost_notices_are_not_told(self) -> None:
        """A notice's own loss counts, but is not told: two drains that are both
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
        """The buffer wakes its owner when as many messages wait as were asked for."""
        woken: list[int] = []
        self.buffer.wake = lambda: woken.append(len(self.buffer.messages))
        self.buffer.push([b"1"])
        self.buffer.wake_at = 3
        self.buffer.push([b"2"])
        self.buffer.push([b"3"])
        self.assertEqual(woken, [3])

    def test_wakes_before_it_drops(self) -> None:
        """The owner can take what would have been dropped."""
        taken: list[bytes] = []
        self.buffer.wake = lambda: taken.append(self.buffer.messages.popleft())
        self.buffer.wake_at = 1
        self.buffer.push(numbered(0, 5))
        self.assertEqual(taken, [b"0"])
        self.assertEqual((len(self.buffer.messages), self.buffer.dropped), (4, 0))

    def test_wake_fails(self) -> None:
        """A bug in the owner does not reach the caller of push."""
        self.buffer.wake = lambda: 1 / 0  # type: ignore[assignment]
        self.buffer.wake_at = 1
        self.buffer.push([b"1"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_clear(self) -> None:
        """Messages that are given up are counted as lost."""
        self.buffer.push(numbered(0, 3))
        self.assertEqual(self.buffer.clear(), 3)
        self.assertEqual((self.buffer.buffered, self.buffer.dropped), (0, 3))


class Elastic(SynchronousTestCase):
    """Beyond the messages of which each is sure, drains share a buffer (PROTOCOL §8)."""

    SIZE = 6_400

    def setUp(self) -> None:
        self.clock = Clock()
        self.shared = SharedBuffer(self.SIZE)
        self.losses: dict[Buffer, int] = {}

    def buffer(self, channel_id: str, limit: int = 4) -> Buffer:
        def lost(count: int) -> None:
            self.losses[buffer] = self.losses.get(buffer, 0) + count

        buffer = Buffer(
            self.clock, Counters(), limit, lost, channel_id=channel_id, shared=self.shared
        )
        return buffer

    def waiting(self, buffer: Buffer) -> list[bytes]:
        return [*buffer.messages, *buffer.overflow]

    def test_burst(self) -> None:
        """A burst beyond what a drain is sure of is kept in order."""
        buffer = self.buffer("a")
        buffer.push(numbered(1, 2))
        buffer.push(numbered(3, 500))
        buffer.push(numbered(503, 10))
        self.assertEqual(self.waiting(buffer), numbered(1, 512))
        self.assertEqual(self.losses, {})
        self.assertEqual(self.shared.used_bytes, sum(map(len, numbered(5, 508))))

    def test_taken(self) -> None:
        """Messages that are taken make room for the next, which are not charged any more."""
        buffer = self.buffer("a")
        buffer.push(numbered(1, 10))
        for first in (1, 5):
            self.assertEqual(list(buffer.messages), numbered(first, 4))
            buffer.messages.clear()
            buffer.took(4)
        self.assertEqual(list(buffer.messages), numbered(9, 2))
        self.assertEqual(self.shared.used_bytes, 0)

    def test_put_back(self) -> None:
        """Messages that go back are before all others, and others may overflow."""
        buffer = self.buffer("a")
        buffer.push(numbered(1, 6))
        buffer.messages.clear()
        buffer.took(4)
        buffer.put_back(numbered(1, 4))
        self.assertEqual(self.waiting(buffer), numbered(1, 6))
        self.assertEqual(self.shared.used_bytes, 2)

    def test_at_the_bound(self) -> None:
        """The last byte of the room is used; one more message, and the oldest goes."""
        buffer = self.buffer("a")
        message = b"x" * 100
        buffer.push([b"first", *[message] * 67])
        self.assertEqual((self.shared.used_bytes, self.losses), (6_400, {}))
        buffer.push([b"y"])
        self.assertEqual(buffer.messages[0], message)
        self.assertEqual(self.losses, {buffer: 2})
        self.assertEqual(buffer.loss, Loss(2, 0.0))
        self.assertLessEqual(self.shared.used_bytes, self.SIZE)

    def test_who_gives_way(self) -> None:
        """The channel that uses most drops its oldest messages, also if another needs the room."""
        loud, quiet = self.buffer("loud"), self.buffer("quiet")
        quiet.push([b"q" * 100] * 6)
        loud.push([b"l" * 100] * 66)
        self.assertEqual(self.losses, {})
        quiet.push([b"q" * 100] * 10)
        self.assertEqual((quiet.buffered, quiet.dropped), (16, 0))
        self.assertEqual(self.losses, {loud: loud.dropped})
        self.assertIn(loud.dropped, (10, 11))

    def test_all_drains_of_a_channel_count(self) -> None:
        """Two drains of a channel use as much together as one of another channel alone."""
        pair = [self.buffer("pair"), self.buffer("pair")]
        single = self.buffer("single")
        for each in pair:
            each.push([b"p" * 100] * 24)
        single.push([b"s" * 100] * 28)
        self.assertEqual(self.losses, {})
        single.push([b"s" * 100] * 5)
        self.assertNotIn(single, self.losses)

    def test_what_is_sure(self) -> None:
        """No channel ever takes one of the messages of which another is sure."""
        sure, loud = self.buffer("sure"), self.buffer("loud")
        sure.push(numbered(1, 4))
        loud.push([b"l" * 100] * 500)
        self.assertEqual(self.waiting(sure), numbered(1, 4))
        self.assertEqual(loud.buffered, 4 + 63)

    def test_none(self) -> None:
        """Without a shared buffer a drain holds that of which it is sure."""
        self.shared = SharedBuffer(0)
        buffer = self.buffer("a")
        buffer.push(numbered(1, 10))
        self.assertEqual(self.waiting(buffer), numbered(7, 4))
        self.assertEqual(self.losses, {buffer: 6})

    def test_clear(self) -> None:
        """A drain that ends gives its room back."""
        buffer = self.buffer("a")
        buffer.push(numbered(1, 10))
        self.assertEqual(buffer.clear(), 10)
        self.assertEqual((self.shared.used_bytes, buffer.buffered), (0, 0))
        buffer.push(numbered(1, 10))
        self.assertEqual(buffer.buffered, 10)

    def test_courier_first(self) -> None:
        """A courier's waiting batch is older, and goes before anything in the buffer."""
        self.shared = SharedBuffer(0)
        buffer = self.buffer("a")
        buffer.push(numbered(1, 4))
        buffer.messages.clear()
        buffer.took(4)
        buffer.push(numbered(5, 4))

        def give_up() -> None:
            buffer.lose(numbered(1, 4))
            buffer.messages.popleft()
            buffer.took(1)

        buffer.give_up = give_up
        buffer.push(numbered(9, 1))
        self.assertEqual(self.waiting(buffer), numbered(6, 4))
        self.assertEqual(self.losses, {buffer: 4})

    def test_notices_push_nothing_out(self) -> None:
        """A notice of ours finds no room in a full buffer, and costs no message."""
        self.shared = SharedBuffer(0)
        buffer = self.buffer("a")
        buffer.push(numbered(1, 4))
        buffer.push([NOTICE])
        self.assertEqual(self.waiting(buffer), numbered(1, 4))
        self.assertEqual((buffer.dropped, self.losses), (1, {}))

    def test_notices_in_the_overflow(self) -> None:
        buffer = self.buffer("a")
        buffer.push([*numbered(1, 4), b"x" * self.SIZE])
        buffer.push([NOTICE])
        self.assertEqual((buffer.buffered, buffer.dropped), (5, 1))

    def test_age(self) -> None:
        """The age of the oldest message is known to a second, also after others were taken."""
        buffer = self.buffer("a", limit=1_000)
        self.assertIsNone(buffer.oldest_s())
        for number in range(10):
            buffer.push(numbered(number, 1))
            self.clock.advance(2)
        self.assertEqual(buffer.oldest_s(), 20)
        for _ in range(4):
            buffer.messages.popleft()
        buffer.took(4)
        buffer.deliver(4)
        self.assertEqual(buffer.oldest_s(), 12)
        self.assertEqual(buffer.clear(), 6)
        self.assertIsNone(buffer.oldest_s())

    def test_age_after_long(self) -> None:
        """It stays known with few numbers, however long a receiver is away."""
        buffer = self.buffer("a", limit=10_000)
        for number in range(2_000):
            buffer.push(numbered(number, 1))
            self.clock.advance(2)
        self.assertEqual(buffer.oldest_s(), 4_000)


class Accounting(RuleBasedStateMachine):
    """The sums are right and the order is kept, in any course of events."""

    def __init__(self) -> None:
        super().__init__()
        self.counters = Counters()
        self.told = 0
        self.shared = SharedBuffer(40)
        self.buffer = Buffer(
            Clock(), self.counters, 5, self.lost, channel_id="one", shared=self.shared
        )
        self.other = Buffer(
            Clock(), Counters(), 2, lambda _: None, channel_id="two", shared=self.shared
        )
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

    @rule(count=st.integers(1, 12))
    def push_to_another(self, count: int) -> None:
        self.other.push([b"other"] * count)

    @rule()
    def clear_another(self) -> None:
        self.other.clear()

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
        buffer = self.buffer
        numbers = [int(message) for message in (*buffer.messages, *buffer.overflow)]
        assert numbers == sorted(set(numbers))
        assert len(buffer.messages) <= buffer.limit
        assert not buffer.overflow or len(buffer.messages) == buffer.limit

    @invariant()
    def shared_room(self) -> None:
        used = 0
        for each in (self.buffer, self.other):
            assert each.overflow_bytes == sum(map(len, each.overflow))
            used += each.overflow_bytes
        assert self.shared.used_bytes == used <= self.shared.size_bytes


class AccountingTests(SynchronousTestCase):
    def test_accounting(self) -> None:
        """Every message is delivered, dropped or buffered, always."""
        run_state_machine_as_test(
            Accounting,
            settings=settings(deadline=None, max_examples=100, stateful_step_count=30),
        )
