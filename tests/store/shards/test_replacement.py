"""
Shards are replaced on two nodes, step by step, while messages come in any order with the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from itertools import count
from random import Random
from typing import Any

from attrs import define, field
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from logplex.interfaces import Step, StoreAway, WrongStep
from logplex.metrics import Counters
from logplex.store.shards.outbox import Outbox, OutboxBounds
from logplex.store.shards.ring import consistent
from logplex.store.shards.scripts import Origin
from logplex.store.shards.shard import Identity, Shard
from logplex.store.shards.shard_map import ShardMap
from logplex.store.shards.spool import RedisSpool
from logplex.store.shards.writer import WritingTimes
from tests.store.shards.model_redis import KEPT, ModelLink, ModelRedis
from tests.store.shards.test_feed import Diary

CHANNELS = ("a", "b", "c")
URLS = ("redis://s1", "redis://s2", "redis://s3")
#: A channel that the ring of the last two puts on the last; it puts the others on the first.
MOVES_TO_S3 = "d"


@define(eq=False)
class SpoolNode:
    """A node's spool on model shards, and a follower of every channel."""

    name: str
    shards: dict[str, ModelRedis]
    clock: Clock
    counters: Counters = field(factory=Counters)
    links: list[ModelLink] = field(factory=list)
    sent: dict[str, list[bytes]] = field(factory=lambda: {each: [] for each in CHANNELS})
    diaries: dict[str, Diary] = field(factory=lambda: {each: Diary() for each in CHANNELS})
    numbers: count[int] = field(factory=lambda: count(1))
    spool: RedisSpool = field(init=False)

    def begin(self, urls: Sequence[str]) -> None:
        self.spool = RedisSpool(ShardMap(urls, consistent, self.make_shard), self.clock, KEPT)

    def make_shard(self, url: str) -> Shard:
        def connect(
            purpose: str,
            up: Callable[[], None],
            down: Callable[[], None],
            received: Callable[[bytes, bytes], None] | None = None,
        ) -> ModelLink:
            self.links.append(ModelLink(self.shards[url], up, down, received))
            return self.links[-1]

        return Shard(
            Identity(url, url, 0, Origin(self.name.encode(), b"1")),
            connect,
            self.clock,
            WritingTimes(),
            Outbox(OutboxBounds(batch_channels=1), self.counters, self.numbers),
        )

    def append(self, channel_id: str) -> None:
        texts = self.sent[channel_id]
        texts.append(b"%b %d" % (self.name.encode(), len(texts)))
        self.spool.append(channel_id, texts[-1:])


class ReplacementTestCase(SynchronousTestCase):
    def begin(self, *urls: str) -> None:
        self.clock = Clock()
        self.clock.advance(1.0)
        self.shards = {url: ModelRedis() for url in URLS}
        self.nodes = [SpoolNode(name, self.shards, self.clock) for name in ("one", "two")]
        for node in self.nodes:
            node.begin(urls)
        self.heal()
        for node in self.nodes:
            for channel_id, diary in node.diaries.items():
                node.spool.follow(channel_id, diary)
        self.heal()

    def links(self) -> list[ModelLink]:
        return [link for node in self.nodes for link in node.links if not link.stopped]

    def travel(self, until: Callable[[], bool]) -> None:
        """Let what was sent be executed, and answers arrive; what is cut stays so."""
        while not until():
            for link in self.links():
                link.execute()
                link.arrive()

    def heal(self) -> None:
        """Let everything work until nothing more happens."""
        for _ in range(4):
            for link in self.links():
                link.connect()
            while any(link.sent or link.arriving for link in self.links()):
                for link in self.links():
                    link.execute()
                    link.arrive()
            self.clock.advance(0.1)


class StepsTests(ReplacementTestCase):
    def setUp(self) -> None:
        self.begin(URLS[0])
        self.replacement = self.nodes[0].spool.replacement

    def take(self, step: Coroutine[Deferred[Any], Any, None]) -> Deferred[None]:
        taking = Deferred.fromCoroutine(step)
        self.heal()
        return taking

    def test_steps_in_their_order(self) -> None:
        seen = [self.replacement.step]
        for step in (
            self.replacement.prepare(URLS[:2]),
            self.replacement.commit(),
            self.replacement.make_permanent(),
        ):
            self.successResultOf(self.take(step))
            seen.append(self.replacement.step)
        self.assertEqual(seen, [Step.SETTLED, Step.PREPARED, Step.COMMITTED, Step.SETTLED])

    def test_an_abort_goes_one_step_back(self) -> None:
        self.take(self.replacement.prepare(URLS[:2]))
        self.take(self.replacement.commit())
        seen = []
        for _ in range(2):
            self.successResultOf(self.take(self.replacement.abort()))
            seen.append(self.replacement.step)
        self.assertEqual(seen, [Step.PREPARED, Step.SETTLED])
        self.failureResultOf(self.take(self.replacement.abort()), WrongStep)

    def test_no_step_while_another_is_under_way(self) -> None:
        preparing = Deferred.fromCoroutine(self.replacement.prepare(URLS[:2]))
        for step in (self.replacement.prepare(URLS), self.replacement.commit()):
            self.failureResultOf(Deferred.fromCoroutine(step), WrongStep)
        self.heal()
        self.successResultOf(preparing)

    def test_a_shard_that_stays_keeps_its_links(self) -> None:
        before = len(self.nodes[0].links)
        self.take(self.replacement.prepare(URLS[:2]))
        self.assertEqual(len(self.nodes[0].links) - before, 3)

    def test_why_they_were_not_replaced_is_one_line_in_the_log(self) -> None:
        with capturedLogs() as events:
            preparing = Deferred.fromCoroutine(self.replacement.prepare(URLS[:2]))
            self.clock.advance(10.0)
            self.heal()
        self.failureResultOf(preparing, StoreAway)
        said = [formatEvent(each) for each in events if each["log_level"] >= LogLevel.warn]
        self.assertEqual(said, [f"the shards are not replaced: not there in time: {URLS[1]}"])

    def test_who_follows_while_the_channels_are_listened_to_is_told_of_one_interruption(
        self,
    ) -> None:
        spool, early, late = self.nodes[0].spool, Diary(), Diary()
        spool.follow(MOVES_TO_S3, early)
        self.heal()
        preparing = Deferred.fromCoroutine(self.replacement.prepare(URLS[1:]))
        for link in self.links():
            link.connect()
        self.travel(lambda: any(each.asked("SUBSCRIBE") for each in self.shards[URLS[1]].links))
        self.shards[URLS[2]].restart()
        self.failureResultOf(spool.follow(MOVES_TO_S3, late), StoreAway)
        spool.unfollow(MOVES_TO_S3, early)
        self.travel(lambda: preparing.called)
        self.successResultOf(preparing)
        self.heal()
        self.assertEqual(late.told, ["interrupted", "incomplete"])


class HistoriesTests(ReplacementTestCase):
    def happen(self, random: Random, until: Callable[[], bool], steps: int) -> None:
        """Let messages come and travel, until then and for some steps more."""
        while steps or not until():
            steps = max(0, steps - 1)
            link = random.choice(self.links())
            what = random.random()
            if what < 0.15:
                random.choice(self.nodes).append(random.choice(CHANNELS))
            elif what < 0.5:
                link.execute()
            elif what < 0.85:
                link.arrive()
            elif what < 0.95:
                self.clock.advance(random.choice((0.005, 0.02, 0.06)))
            else:
                link.connect()

    def take(self, random: Random, step: Callable[[SpoolNode], Any]) -> None:
        """Take both nodes through a step, in any order."""
        for node in random.sample(self.nodes, 2):
            taking = Deferred.fromCoroutine(step(node))
            self.happen(random, lambda taking=taking: taking.called, random.randrange(40))  # type: ignore[misc]
            self.successResultOf(taking)

    @settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
    @given(
        st.integers(0, 2**32),
        st.lists(st.sets(st.sampled_from(URLS), min_size=1).map(sorted), min_size=2, max_size=4),
        st.sampled_from(["all", "abort prepared", "abort committed"]),
    )
    def test_everybody_is_told_everything_once(
        self, seed: int, rings: list[list[str]], way: str
    ) -> None:
        random = Random(seed)
        self.begin(*rings[0])
        for urls in rings[1:]:
            self.take(random, lambda node, urls=urls: node.spool.replacement.prepare(urls))  # type: ignore[misc]
            if way != "abort prepared":
                self.take(random, lambda node: node.spool.replacement.commit())
            if way == "all":
                self.take(random, lambda node: node.spool.replacement.make_permanent())
            if way == "abort committed":
                self.take(random, lambda node: node.spool.replacement.abort())
            if way != "all":
                self.take(random, lambda node: node.spool.replacement.abort())
        self.heal()
        for channel_id in CHANNELS:
            wanted = [text for node in self.nodes for text in node.sent[channel_id]]
            for node in self.nodes:
                told = node.diaries[channel_id].told
                texts = [each[1] if isinstance(each, tuple) else each for each in told]
                self.assertEqual(sorted(texts), sorted(wanted))
                numbers = [each[0] for each in told if isinstance(each, tuple)]
                self.assertEqual(numbers, sorted(set(numbers)))
        for node in self.nodes:
            self.assertEqual(sum(map(len, node.sent.values())), node.counters.spool_written)
