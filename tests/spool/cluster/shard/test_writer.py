# SPDX-License-Identifier: Apache-2.0

"""
When one shard is written to.
"""

from __future__ import annotations

from typing import Any

import msgpack
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from logplex.interfaces import StoreAway
from logplex.metrics import Counters
from logplex.redis.connection import Refused
from logplex.spool.cluster.shard.outbox import Outbox, OutboxBounds
from logplex.spool.cluster.shard.writer import ShardWriter, WritingTimes
from logplex.spool.cluster.wire.scripts import APPEND, Origin, Script

TICK_S, FOLLOWED_TICK_S = 0.05, 0.01


class Call:
    """One call of the script, waiting for its answer."""

    def __init__(self, script: Script, arguments: tuple[Any, ...]) -> None:
        assert script is APPEND
        self.number: int = arguments[2]
        names = [head[0] for head in msgpack.unpackb(arguments[7])]
        texts = [msgpack.unpackb(payload, raw=True) for payload in arguments[8:]]
        self.messages = dict(zip(names, texts, strict=True))
        self.answer: Deferred[Any] = Deferred()

    def taken(self, followed: tuple[int, ...] = (), replaced: tuple[str, ...] = ()) -> None:
        self.answer.callback(msgpack.packb([followed, replaced]))


class ShardWriterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.counters = Clock(), Counters()
        self.calls: list[Call] = []
        self.followed: set[str] = set()
        self.failures = 0
        self.replaced: list[str] = []
        self.outbox = Outbox(OutboxBounds(), self.counters)
        self.writer = ShardWriter(
            self.outbox,
            Origin(b"node", b"1"),
            "live:",
            WritingTimes(TICK_S, FOLLOWED_TICK_S, followed_for_s=60.0),
            self.clock,
            self.run_script,
            self.followed,
            self.failed,
            self.replaced.extend,
        )
        self.writer.open()

    def run_script(self, script: Script, *arguments: Any) -> Deferred[Any]:
        self.calls.append(Call(script, arguments))
        return self.calls[-1].answer

    def failed(self, because: str) -> None:
        self.failures += 1

    def append(self, channel_id: str, *messages: bytes) -> None:
        self.writer.append(channel_id, list(messages), True)

    def written(self) -> list[dict[str, list[bytes]]]:
        return [call.messages for call in self.calls]

    def test_messages_wait_for_company_until_the_tick(self) -> None:
        self.append("a", b"1")
        self.append("b", b"2")
        self.clock.advance(TICK_S * 0.9)
        self.append("a", b"3")
        self.assertEqual(self.calls, [])
        self.clock.advance(TICK_S * 0.2)
        self.assertEqual(self.written(), [{"a": [b"1", b"3"], "b": [b"2"]}])

    def test_many_channels_wait_longer(self) -> None:
        """So that each has more messages when it is written: 1,000 wait 100 ms."""
        for number in range(1_000):
            self.append(f"app-{number}", b"1")
        self.clock.advance(TICK_S)
        for number in range(10):
            self.calls[number].taken()
        self.append("a", b"2")
        self.clock.advance(0.099)
        self.assertEqual(len(self.calls), 10)
        self.clock.advance(0.0011)
        self.assertEqual(self.written()[10:], [{"a": [b"2"]}])
        self.calls[10].taken()
        self.append("a", b"3")
        self.clock.advance(TICK_S)
        self.assertEqual(self.written()[11:], [{"a": [b"3"]}])

    def test_none_waits_longer_than_the_most(self) -> None:
        for number in range(5_000):
            self.append(f"app-{number}", b"1")
        self.clock.advance(TICK_S)
        for number in range(50):
            self.calls[number].taken()
        self.append("a", b"2")
        self.clock.advance(0.1999)
        self.assertEqual(len(self.calls), 50)
        self.clock.advance(0.0002)
        self.assertEqual(len(self.calls), 51)

    def test_what_this_node_follows_is_written_sooner_and_alone(self) -> None:
        self.followed.add("b")
        self.append("a", b"1")
        self.append("b", b"2")
        self.clock.advance(FOLLOWED_TICK_S)
        self.assertEqual(self.written(), [{"b": [b"2"]}])
        self.calls[0].taken()
        self.clock.advance(TICK_S)
        self.assertEqual(self.written()[1:], [{"a": [b"1"]}])

    def test_a_channel_with_listeners_is_written_sooner_for_a_minute(self) -> None:
        self.append("a", b"1")
        self.clock.advance(TICK_S)
        self.calls[0].taken(followed=(1,))
        self.append("a", b"2")
        self.clock.advance(FOLLOWED_TICK_S)
        self.assertEqual(len(self.calls), 2)
        self.calls[1].taken()
        self.clock.advance(60.0)
        self.append("a", b"3")
        self.clock.advance(FOLLOWED_TICK_S)
        self.assertEqual(len(self.calls), 2)
        self.clock.advance(TICK_S)
        self.assertEqual(len(self.calls), 3)

    def test_one_call_at_a_time(self) -> None:
        self.append("a", b"1")
        self.clock.advance(TICK_S)
        for message in (b"2", b"3"):
            self.append("a", message)
            self.clock.advance(TICK_S)
        self.assertEqual(len(self.calls), 1)
        self.calls[0].taken()
        self.assertEqual(self.written(), [{"a": [b"1"]}, {"a": [b"2", b"3"]}])

    def test_a_call_without_answer_is_repeated_as_it_was(self) -> None:
        self.append("a", b"1")
        self.clock.advance(TICK_S)
        self.append("a", b"2")
        self.calls[0].answer.errback(StoreAway())
        self.clock.advance(TICK_S)
        self.assertEqual((len(self.calls), self.failures), (1, 1))
        self.writer.open()
        self.assertEqual(self.calls[1].number, self.calls[0].number)
        self.assertEqual(self.written(), [{"a": [b"1"]}] * 2)
        self.calls[1].answer.callback(None)
        self.assertEqual(self.calls[2].messages, {"a": [b"2"]})
        self.assertEqual(self.counters.spool_written, 1)

    def test_what_a_shard_refuses_is_counted_and_the_next_goes_on(self) -> None:
        self.append("a", b"1", b"2")
        self.clock.advance(TICK_S)
        self.calls[0].answer.errback(Refused("what is this"))
        self.append("a", b"3")
        self.clock.advance(TICK_S)
        self.calls[1].taken()
        self.assertEqual((self.counters.spool_dropped, self.counters.spool_written), (2, 1))

    def test_keys_that_were_replaced_are_told(self) -> None:
        self.append("a", b"1", b"2")
        self.clock.advance(TICK_S)
        self.calls[0].taken(replaced=("seq:a",))
        self.assertEqual((self.replaced, self.counters.spool_written), (["seq:a"], 2))

    def test_an_answer_that_nobody_understands_stops_nothing(self) -> None:
        self.append("a", b"1")
        self.clock.advance(TICK_S)
        self.calls[0].answer.callback(b"\xc1")
        self.append("a", b"2")
        self.clock.advance(TICK_S)
        self.assertEqual(len(self.calls), 2)
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_nothing_is_written_while_it_is_shut(self) -> None:
        self.writer.shut()
        self.append("a", b"1")
        self.clock.advance(1.0)
        self.assertEqual(self.calls, [])
        self.writer.open()
        self.assertEqual(self.written(), [{"a": [b"1"]}])

    def test_what_is_held_back_waits(self) -> None:
        self.append("a", b"1")
        self.writer.hold()
        self.append("a", b"2")
        self.clock.advance(TICK_S)
        self.calls[0].taken()
        self.clock.advance(1.0)
        self.assertEqual(self.written(), [{"a": [b"1"]}])
        self.writer.let_go()
        self.assertEqual(self.written()[1:], [{"a": [b"2"]}])

    def test_waiting_for_ones_own_writes(self) -> None:
        self.append("a", b"1")
        self.append("b", b"2")
        waiting = self.writer.written("a")
        self.assertEqual(self.written(), [{"a": [b"1"]}])
        self.assertNoResult(waiting)
        self.calls[0].taken()
        self.successResultOf(waiting)
        self.successResultOf(self.writer.written("c"))

    def test_nobody_waits_for_a_shard_that_is_shut(self) -> None:
        self.append("a", b"1")
        waiting = self.writer.everything_written()
        self.writer.shut()
        self.successResultOf(waiting)
        self.successResultOf(self.writer.written("a"))

    def test_stopping_drops_and_counts_and_leaves_no_timer(self) -> None:
        self.followed.add("a")
        self.append("a", b"1")
        self.append("b", b"2")
        self.writer.stop()
        self.assertEqual(self.counters.spool_dropped, 2)
        self.assertEqual(self.clock.getDelayedCalls(), [])
