# SPDX-License-Identifier: Apache-2.0

"""Whole spools in memory: nodes on model shards, over links that can be cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

from attrs import define, field
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from logplex.metrics import Counters
from logplex.spool.cluster.shard.outbox import Outbox, OutboxBounds
from logplex.spool.cluster.shard.shard import Identity, Shard
from logplex.spool.cluster.shard.writer import WritingTimes
from logplex.spool.cluster.spool import ClusterSpool
from logplex.spool.cluster.topology import Shards
from logplex.spool.cluster.wire.scripts import Origin
from tests.doubles.followers import Diary
from tests.doubles.model_redis import KEPT, ModelLink, ModelRedis

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
    spool: ClusterSpool = field(init=False)

    def begin(self, urls: Sequence[str]) -> None:
        self.spool = ClusterSpool(Shards(urls, self.make_shard), self.clock, KEPT)

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


class SpoolsTestCase(SynchronousTestCase):
    """Two nodes on up to three shards, which exchange messages when the test says."""

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
                node.spool.join(channel_id, diary)
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
