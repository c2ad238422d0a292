# SPDX-License-Identifier: Apache-2.0

"""
The embedded spool.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from logplex.interfaces import ISpool
from logplex.metrics import Counters
from logplex.settings import Spool
from logplex.spool.memory import (
    MESSAGE_OVERHEAD_BYTES,
    PIECE_OVERHEAD_BYTES,
    MemorySpool,
)
from tests.contracts import AtOnce
from tests.contracts.spool import SpoolContract, Witness

START_S = 1_700_000_000


class ContractTests(SpoolContract, AtOnce):
    """The contract suite on the embedded spool."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(START_S)

    async def empty_spool(self) -> ISpool:
        return MemorySpool(Spool(), self.clock, Counters())

    def now_us(self) -> int:
        return int(self.clock.seconds() * 1_000_000)

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)


class MemorySpoolTests(SynchronousTestCase):
    """The bounds and the metrics of the embedded spool."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(START_S)
        self.counters = Counters()

    def spool(self, **options: Any) -> MemorySpool:
        return MemorySpool(Spool(**options), self.clock, self.counters)

    def kept(self, spool: MemorySpool, channel_id: str) -> list[bytes]:
        return [text for _, text in self.successResultOf(spool.recent(channel_id)).entries]

    def gauges(self, spool: MemorySpool) -> dict[str, float]:
        return {sample.name: sample.value for sample in spool.samples()}

    def test_the_channel_written_longest_ago_gives_way_first(self) -> None:
        size_bytes = 100 + MESSAGE_OVERHEAD_BYTES + PIECE_OVERHEAD_BYTES
        spool = self.spool(max_bytes=2 * size_bytes)
        spool.append("a", [b"a" * 100])
        spool.append("b", [b"b" * 100])
        spool.append("c", [b"c" * 100])
        self.assertEqual([len(self.kept(spool, each)) for each in "abc"], [0, 1, 1])
        self.assertEqual(self.counters.spool_evicted, 1)
        self.assertEqual(self.gauges(spool)["logplex_spool_bytes"], 2 * size_bytes)

    def test_a_write_makes_a_channel_the_last_to_give_way(self) -> None:
        size_bytes = 100 + MESSAGE_OVERHEAD_BYTES + PIECE_OVERHEAD_BYTES
        spool = self.spool(max_bytes=int(2.9 * size_bytes))
        spool.append("a", [b"a" * 100])
        spool.append("b", [b"b" * 100])
        spool.append("a", [b"a"])
        spool.append("c", [b"c" * 100])
        self.assertEqual([len(self.kept(spool, each)) for each in "abc"], [2, 0, 1])

    def test_one_batch_beyond_the_bound_keeps_nothing(self) -> None:
        spool = self.spool(max_bytes=2_000)
        spool.append("a", [b"a" * 4_000])
        self.assertEqual(self.kept(spool, "a"), [])
        self.assertEqual(
            self.gauges(spool), {"logplex_spool_bytes": 0, "logplex_spool_channels": 0}
        )

    def test_numbers_go_on_after_giving_way(self) -> None:
        spool = self.spool(max_bytes=2_000)
        witness = Witness()
        self.successResultOf(spool.join("a", witness))
        spool.append("a", [b"a"])
        spool.append("b", [b"b" * 1_400])
        spool.append("a", [b"a again"])
        self.assertEqual(witness.entries[1][0], witness.entries[0][0] + 1)

    def test_numbers_grow_where_the_clock_was_set_back(self) -> None:
        spool = self.spool()
        spool.append("a", [b"one"])
        before = self.successResultOf(spool.recent("a")).last
        spool.forget("a")
        self.clock.rightNow -= 3_600
        spool.append("a", [b"two"])
        self.assertGreater(self.successResultOf(spool.recent("a")).last, before)

    def test_what_is_too_old_gives_its_memory_back(self) -> None:
        spool = self.spool()
        spool.append("a", [b"one"])
        self.clock.advance(604_800)
        spool.append("b", [b"two"], keep=False)
        spool.append("b", [b"three"])
        self.assertEqual(self.gauges(spool)["logplex_spool_channels"], 1)

    def test_a_small_bound_on_messages_is_exact(self) -> None:
        spool = self.spool(messages=3)
        for n in range(10):
            spool.append("a", [b"%d" % n])
        self.assertEqual(self.kept(spool, "a"), [b"7", b"8", b"9"])


class _Model(RuleBasedStateMachine):
    """Random histories; the model keeps every message for ever."""

    channels = st.sampled_from(["a", "b", "c"])
    batches = st.lists(st.binary(max_size=30), max_size=9)

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.clock.advance(START_S)
        self.options = Spool(messages=10, retention_s=1_000.0, max_bytes=6_000)
        self.counters = Counters()
        self.spool = MemorySpool(self.options, self.clock, self.counters)
        self.kept: dict[str, list[tuple[int, bytes]]] = {each: [] for each in "abc"}
        self.last: dict[str, int] = dict.fromkeys("abc", 0)
        self.written_s: dict[str, float] = dict.fromkeys("abc", 0.0)
        self.witnesses: dict[str, Witness] = {each: Witness() for each in "abc"}
        for each, witness in self.witnesses.items():
            self.spool.join(each, witness)

    @rule(channel=channels, batch=batches, keep=st.booleans())
    def append(self, channel: str, batch: list[bytes], keep: bool) -> None:
        self.spool.append(channel, batch, keep)
        if not batch:
            return
        told = self.witnesses[channel].entries[-len(batch) :]
        assert [text for _, text in told] == batch
        assert told[0][0] > self.last[channel]
        self.last[channel] = told[-1][0]
        if keep:
            self.kept[channel] += told
            self.written_s[channel] = self.clock.seconds()

    @rule(seconds=st.sampled_from([0.0, 1.0, 500.0, 1_000.0]))
    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        for each, written_s in self.written_s.items():
            if self.clock.seconds() - written_s >= self.options.retention_s:
                self.kept[each].clear()

    @rule(channel=channels)
    def forget(self, channel: str) -> None:
        self.spool.forget(channel)
        self.kept[channel].clear()

    @invariant()
    def keeps_the_newest(self) -> None:
        for channel, kept in self.kept.items():
            entries = self.recent(channel)
            assert entries == kept[-10:][len(kept[-10:]) - len(entries) :]
            if not self.counters.spool_evicted:
                assert entries == kept[-10:]

    @invariant()
    def keeps_the_bound(self) -> None:
        size_bytes = {sample.name: sample.value for sample in self.spool.samples()}
        assert 0 <= size_bytes["logplex_spool_bytes"] <= self.options.max_bytes

    def recent(self, channel: str) -> list[tuple[int | None, bytes]]:
        found: list[Any] = []
        self.spool.recent(channel).addCallback(found.append)
        entries: list[tuple[int | None, bytes]] = found[0].entries
        return entries


#: Whatever happens, the newest messages are kept within the bounds.
ModelTests = _Model.TestCase
ModelTests.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)
