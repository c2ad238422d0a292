# SPDX-License-Identifier: Apache-2.0

"""Readers that do not read: their pasts are charged once, bounded, and cost no other reader."""

from __future__ import annotations

from attrs import define
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from logplex.live import Live
from logplex.metrics import Counters
from logplex.model.values import Channel, Put
from logplex.settings import Limits
from logplex.tails.join import Message
from logplex.tails.pasts import MESSAGE_BYTES, REFERENCE_BYTES, Pasts
from tests.doubles.interfaces import LogLines
from tests.doubles.session_node import Connection, SessionNode, SlowConnection, line
from tests.doubles.tails import cooked

TEXT = b"x" * 10_000
#: The memory of a history of a hundred of these messages, and what a session needs beside it.
HISTORY_BYTES = 1_100_000


class ReaderTests(SynchronousTestCase):
    """Readers of a node that do not read, and those that do."""

    def node_with(self, limits: Limits) -> SessionNode:
        node = SessionNode(limits=Live(limits))
        node.append(*[TEXT] * 100)
        node.put_session()
        return node

    def silent(self, node: SessionNode) -> Connection:
        """Return a reader that takes the first piece of its history, and no more."""
        return node.get(connection=SlowConnection(node.site))

    def read_on(self, connection: Connection) -> bytes:
        for _ in range(30):
            if connection.is_closed:
                break
            connection.resume()
        return connection.body

    def test_many_of_one_session_are_charged_once(self) -> None:
        node = self.node_with(Limits(tail_history_bytes=2 * HISTORY_BYTES))
        connections = [self.silent(node) for _ in range(18)]
        for connection in connections:
            self.assertEqual(line(TEXT) * 100, self.read_on(connection))
        self.assertEqual(0, node.counters.tail_histories_dropped)

    def test_others_are_never_refused_for_them(self) -> None:
        node = self.node_with(Limits(tail_history_bytes=HISTORY_BYTES))
        node.registry.changed([Put(Channel("app-2"))])
        node.spool.append("app-2", [b"<134>1 T h app web.1 - - hello"])
        silent = [self.silent(node) for _ in range(20)]
        node.put_session(channel_id="app-2")
        self.assertEqual(
            (200, b"T app[web.1]: hello\n"), (node.get().answer().status, node.get().body)
        )
        del silent

    def test_the_channel_that_holds_most_gives_way(self) -> None:
        node = self.node_with(Limits(tail_history_bytes=HISTORY_BYTES + 200_000))
        node.registry.changed([Put(Channel("app-2"))])
        message = b"<134>1 T h app web.1 - - " + TEXT
        node.spool.append("app-2", [message] * 30)
        greedy = self.silent(node)
        node.put_session(channel_id="app-2")
        modest = self.silent(node)
        self.assertEqual(30, self.read_on(modest).count(TEXT))
        body = self.read_on(greedy)
        self.assertEqual(1, node.counters.tail_histories_dropped)
        shown = body.count(TEXT)
        self.assertLess(shown, 100)
        self.assertIn(b"Error L11", body)
        self.assertIn(b"dropped %d messages" % (100 - shown), body)
        self.assertEqual(100 - shown, node.counters.tail_dropped)

    def test_a_tail_that_gave_way_goes_on_live(self) -> None:
        node = self.node_with(Limits(tail_history_bytes=500_000))
        node.put_session(tail=True)
        connection = self.silent(node)
        node.put_session()
        self.read_on(node.get(connection=SlowConnection(node.site)))
        node.append(b"live")
        self.assertTrue(self.read_on(connection).endswith(line(b"live")))
        self.assertIn(b"Error L11", connection.body)

    def test_a_readers_own_bound(self) -> None:
        needed = 100 * len(cooked(TEXT))
        for bound, shown in ((needed + 1, 100), (needed, 100), (needed - 1, 99), (1, 1)):
            node = self.node_with(Limits(tail_reader_bytes=bound))
            body = node.get().body
            self.assertEqual(shown, body.count(TEXT), bound)
            self.assertEqual(shown < 100, b"dropped %d messages" % (100 - shown) in body)

    def test_the_log_says_it_once_a_minute(self) -> None:
        lines = LogLines()
        globalLogPublisher.addObserver(lines)
        self.addCleanup(globalLogPublisher.removeObserver, lines)
        node = self.node_with(Limits(tail_history_bytes=HISTORY_BYTES))
        for _ in range(5):
            self.silent(node)
            node.append(b"y" * 200_000)
        (logged,) = [each for each in lines.lines if "do not read" in each]
        self.assertIn("app-1", logged)

    def test_nothing_is_left_over(self) -> None:
        node = self.node_with(Limits())
        connections = [self.silent(node) for _ in range(5)]
        for connection in connections[:3]:
            connection.leave()
        for connection in connections[3:]:
            self.read_on(connection)
        self.assertEqual((0, {}), (node.tails._pasts.used_bytes, node.tails._pasts._channels))


@define(eq=False)
class Reader:
    """A reader that remembers what waits for it."""

    pasts: Pasts
    channel_id: str
    past: list[Message]
    has_lost: bool = False

    def lose_past(self) -> None:
        self.has_lost = True
        past, self.past = self.past, []
        self.pasts.release(self.channel_id, self, past, is_last=True)


class VictimTests(SynchronousTestCase):
    """The reader that gives way."""

    def test_the_one_that_has_read_nothing_for_longest(self) -> None:
        self.assertEqual([False, True, False], self.losers(4_999))

    def test_none_at_the_bound(self) -> None:
        self.assertEqual([False, False, False], self.losers(5_000))

    def losers(self, bound: int) -> list[bool]:
        """Of three readers, which need 5,000 bytes, the first has read since the second began."""
        pasts = Pasts(Live(Limits(tail_history_bytes=bound)), Counters(), lambda: 0.0)
        readers = [Reader(pasts, "x", []) for _ in range(3)]
        for n, reader in enumerate(readers[:2]):
            reader.past = pasts.hold("x", reader, [(2 * n, b"x" * 800), (2 * n + 1, b"x" * 800)])
        pasts.release("x", readers[0], [readers[0].past.pop()], is_last=False)
        readers[2].past = pasts.hold("x", readers[2], [(5, b"x" * 800), (6, b"x" * 800)])
        return [each.has_lost for each in readers]


BOUND = 20_000
NUMBERED = st.tuples(st.none() | st.integers(1, 6), st.sampled_from([b"a" * 900, b"b" * 2_000]))


class AnyCourse(RuleBasedStateMachine):
    """Whatever readers do, what is charged is what is held, and stays within the bound."""

    def __init__(self) -> None:
        super().__init__()
        limits = Live(Limits(tail_history_bytes=BOUND))
        self.pasts = Pasts(limits, Counters(), lambda: 0.0)
        self.readers: list[Reader] = []

    @rule(channel_id=st.sampled_from("xyz"), messages=st.lists(NUMBERED, max_size=6))
    def begin(self, channel_id: str, messages: list[Message]) -> None:
        reader = Reader(self.pasts, channel_id, [])
        reader.past = self.pasts.hold(channel_id, reader, messages)
        assert reader.past == messages
        self.readers.append(reader)

    @rule(data=st.data(), count=st.integers(1, 4))
    def read(self, data: st.DataObject, count: int) -> None:
        if self.readers:
            reader = self.readers[data.draw(st.integers(0, len(self.readers) - 1))]
            taken, reader.past = reader.past[:count], reader.past[count:]
            self.pasts.release(reader.channel_id, reader, taken, is_last=not reader.past)

    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        if self.readers:
            reader = self.readers.pop(data.draw(st.integers(0, len(self.readers) - 1)))
            self.pasts.release(reader.channel_id, reader, reader.past, is_last=True)

    @invariant()
    def charged_is_held(self) -> None:
        references = sum(len(each.past) for each in self.readers)
        distinct = {
            (each.channel_id, id(message)): message
            for each in self.readers
            for message in each.past
        }
        first = sum(len(text) + MESSAGE_BYTES for _, text in distinct.values())
        assert first <= self.pasts.used_bytes <= first + references * REFERENCE_BYTES

    @invariant()
    def bounded(self) -> None:
        waiting = [each for each in self.readers if each.past]
        assert self.pasts.used_bytes <= BOUND or len(waiting) == 1

    def teardown(self) -> None:
        for reader in self.readers:
            self.pasts.release(reader.channel_id, reader, reader.past, is_last=True)
        assert self.pasts.used_bytes == 0
        assert not self.pasts._channels


class AnyCourseTests(SynchronousTestCase):
    def test_any_course(self) -> None:
        run_state_machine_as_test(
            AnyCourse, settings=settings(deadline=None, max_examples=100, stateful_step_count=30)
        )
