"""
Two nodes, one shard, and random histories of what may happen between any two steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random

from attrs import define, field
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from logplex.metrics import Counters
from logplex.spool.cluster.shard.follower import Listener
from logplex.spool.cluster.shard.outbox import Outbox, OutboxBounds
from logplex.spool.cluster.shard.shard import Identity, Shard
from logplex.spool.cluster.shard.writer import WritingTimes
from logplex.spool.cluster.wire.scripts import Origin
from tests.doubles.followers import Diary
from tests.doubles.model_redis import ModelLink, ModelRedis

CHANNELS = ("a", "b")
_NOBODY_ANSWERS_S = 1.0


@define(eq=False)
class ModelNode:
    """A node's shard, its links, and a follower of every channel."""

    name: str
    redis: ModelRedis
    clock: Clock
    counters: Counters = field(factory=Counters)
    links: list[ModelLink] = field(factory=list)
    sent: dict[str, list[bytes]] = field(factory=lambda: {each: [] for each in CHANNELS})
    diaries: dict[str, Diary] = field(factory=lambda: {each: Diary() for each in CHANNELS})
    shard: Shard = field(init=False)

    def __attrs_post_init__(self) -> None:
        origin = Origin(self.name.encode(), b"1")
        self.shard = Shard(
            Identity("s", "redis://s", 0, origin),
            self.connect,
            self.clock,
            WritingTimes(),
            Outbox(OutboxBounds(batch_channels=1), self.counters),
        )

    def connect(
        self,
        purpose: str,
        up: Callable[[], None],
        down: Callable[[], None],
        received: Callable[[bytes, bytes], None] | None = None,
    ) -> ModelLink:
        self.links.append(ModelLink(self.redis, up, down, received))
        return self.links[-1]

    def append(self, channel_id: str) -> None:
        texts = self.sent[channel_id]
        texts.append(b"%b %d" % (self.name.encode(), len(texts)))
        self.shard.append(channel_id, texts[-1:], True)


@define(eq=False)
class Joined:
    """
    Who joined when something had happened already.

    :ivar place: of the first of what he was told that was not before his history.
    :ivar complete: whether the shard could be read.
    :ivar shown: his history.
    :ivar last: the number up to which it goes.
    """

    channel_id: str
    diary: Diary
    place: int
    complete: bool
    shown: list[bytes]
    last: int = 0

    def texts(self) -> list[bytes]:
        """Everything that he was shown."""
        live = self.diary.told[self.place :]
        texts = self.shown + [each for each in live if isinstance(each, bytes)]
        return texts + [e[1] for e in live if isinstance(e, tuple) and e[0] > self.last]


class HistoriesTests(SynchronousTestCase):
    def begin(self) -> None:
        self.redis, self.clock = ModelRedis(), Clock()
        self.nodes = [ModelNode(name, self.redis, self.clock) for name in ("one", "two")]
        self.links = [link for node in self.nodes for link in node.links]
        self.heal()
        for node in self.nodes:
            for channel_id, diary in node.diaries.items():
                Deferred.fromCoroutine(node.shard.follow(channel_id, Listener(diary)))
        self.heal()
        # Where a channel had no number there is nothing by which to see that one is missing.
        for channel_id in CHANNELS:
            self.nodes[0].append(channel_id)
        self.heal()

    async def join(self, node: ModelNode, channel_id: str) -> None:
        """
        Begin to read as a tail does: follow, then read the history, until the shard neither comes
        nor goes meanwhile.
        """
        diary = Diary()
        await node.shard.follow(channel_id, Listener(diary))
        while True:
            place, turns = len(diary.told), diary.turns
            own = node.shard.own_messages(channel_id)
            history = await node.shard.history(channel_id)
            if turns == diary.turns:
                break
        joined = Joined(channel_id, diary, place, history is not None, own)
        if history is not None:
            joined.shown += [text for each in history.entries for text in each.messages]
            joined.last = history.last
        self.joined.append(joined)

    def heal(self) -> None:
        """Let everything work until nothing more happens."""
        for _ in range(5):
            for link in self.links:
                link.connect()
            while any(link.sent or link.arriving for link in self.links):
                for link in self.links:
                    link.execute()
                    link.arrive()
            self.clock.advance(_NOBODY_ANSWERS_S)

    def happen(self, random: Random, steps: int, killed: bool) -> None:
        for _ in range(steps):
            link = random.choice(self.links)
            what = random.random()
            if what < 0.2:
                random.choice(self.nodes).append(random.choice(CHANNELS))
            elif what < 0.45:
                link.execute()
            elif what < 0.75:
                link.arrive()
            elif what < 0.85:
                self.clock.advance(random.choice((0.005, 0.02, 0.06, 1.0)))
            elif what < 0.86:
                node = random.choice(self.nodes)
                Deferred.fromCoroutine(self.join(node, random.choice(CHANNELS)))
            elif what < 0.89:
                link.cut(late=random.random() < 0.5)
            elif what < 0.96:
                link.connect()
            elif self.redis.late:
                self.redis.execute(None, self.redis.late.popleft())
            elif killed and what > 0.995:
                self.redis.restart()

    def see(self, killed: bool) -> None:
        for channel_id in CHANNELS:
            wanted = [text for node in self.nodes for text in node.sent[channel_id]]
            for node in self.nodes:
                told = node.diaries[channel_id].told
                events = [each for each in told if isinstance(each, str)]
                entries = [each for each in told if isinstance(each, tuple)]
                texts = [text for _, text in entries] + [t for t in told if isinstance(t, bytes)]
                self.assertEqual([t for t, n in Counter(texts).items() if n > 1], [], "told twice")
                numbers = [number for number, _ in entries]
                self.assertEqual(numbers, sorted(set(numbers)))
                turns = [each for each in events if each != "missed"]
                self.assertEqual(turns, ["interrupted", "resumed"] * (len(turns) // 2))
                if not killed:
                    self.assertEqual(sorted(texts), sorted(wanted))
                    self.assertNotIn("missed", events)
                elif len(texts) < len(wanted):
                    self.assertIn("missed", events)
                self.assertLessEqual(set(texts), set(wanted))
            self.see_history(channel_id, wanted, killed)
        for joined in self.joined:
            texts = joined.texts()
            if killed:
                # What was read just before the shard lost it is written, and told, once more.
                continue
            self.assertEqual([t for t, n in Counter(texts).items() if n > 1], [], "shown twice")
            if joined.complete:
                wanted = [text for node in self.nodes for text in node.sent[joined.channel_id]]
                self.assertEqual(sorted(texts), sorted(wanted))
        for node in self.nodes:
            self.assertEqual(sum(map(len, node.sent.values())), node.counters.spool_written)

    def see_history(self, channel_id: str, wanted: list[bytes], killed: bool) -> None:
        reading = Deferred.fromCoroutine(self.nodes[0].shard.history(channel_id))
        self.heal()
        history = self.successResultOf(reading)
        assert history is not None
        found = [entry for each in history.entries for entry in each.numbered()]
        if not killed:
            self.assertEqual(sorted(text for _, text in found), sorted(wanted))
        numbers = {text: number for number, text in found}
        for node in self.nodes:
            for entry in node.diaries[channel_id].told:
                if not killed and isinstance(entry, tuple):
                    self.assertEqual(numbers[entry[1]], entry[0])

    def run_history(self, random: Random, killed: bool) -> None:
        self.joined: list[Joined] = []
        self.begin()
        self.happen(random, 400, killed)
        self.heal()
        self.see(killed)

    @settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
    @given(st.integers(0, 2**32))
    def test_whatever_is_cut_everybody_is_told_everything_once(self, seed: int) -> None:
        self.run_history(Random(seed), killed=False)

    @settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
    @given(st.integers(0, 2**32))
    def test_a_shard_that_loses_everything_doubles_nothing(self, seed: int) -> None:
        self.run_history(Random(seed), killed=True)
