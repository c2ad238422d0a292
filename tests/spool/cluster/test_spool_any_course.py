# SPDX-License-Identifier: Apache-2.0

"""
Two nodes, one shard, and random histories of what may happen between any two steps.
"""

from __future__ import annotations

from collections import Counter
from random import Random

from attrs import frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from logplex.interfaces import Recent
from tests.doubles.followers import Diary
from tests.doubles.spool_nodes import CHANNELS, URLS, SpoolNode, SpoolsTestCase

_NOBODY_ANSWERS_S = 1.0


@frozen
class Joined:
    """
    A follower that joined when something had happened already.

    :ivar place: of the first of what it was told after the answer.
    """

    channel_id: str
    diary: Diary
    place: int
    recent: Recent

    def texts(self) -> list[bytes]:
        """Return everything that its reader was shown."""
        live = self.diary.told[self.place :]
        texts = [text for _, text in self.recent.entries]
        texts += [each for each in live if isinstance(each, bytes)]
        return texts + [each[1] for each in live if isinstance(each, tuple)]


class HistoriesTests(SpoolsTestCase):
    def start(self) -> None:
        self.begin(URLS[0])
        self.redis = self.shards[URLS[0]]
        # If a channel had no number there is nothing by which to see that one is missing.
        for channel_id in CHANNELS:
            self.nodes[0].append(channel_id)
        self.heal()

    async def join(self, node: SpoolNode, channel_id: str) -> None:
        """Begin to read as a tail does."""
        diary = Diary()
        recent = await node.spool.join(channel_id, diary)
        self.joined.append(Joined(channel_id, diary, len(diary.told), recent))

    def heal(self) -> None:
        """Let everything work until nothing more happens."""
        for _ in range(5):
            for link in self.links():
                link.connect()
            while any(link.sent or link.arriving for link in self.links()):
                for link in self.links():
                    link.execute()
                    link.arrive()
            self.clock.advance(_NOBODY_ANSWERS_S)

    def happen(self, random: Random, steps: int, killed: bool) -> None:
        links = self.links()
        for _ in range(steps):
            link = random.choice(links)
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
                self.assertLessEqual(set(node.sent[channel_id]), set(texts), "own are missing")
            self.see_history(channel_id, wanted, killed)
        for joined in self.joined:
            texts = joined.texts()
            if killed:
                # What was read just before the shard lost it is written, and told, once more.
                continue
            self.assertEqual([t for t, n in Counter(texts).items() if n > 1], [], "shown twice")
            if joined.recent.complete:
                wanted = [text for node in self.nodes for text in node.sent[joined.channel_id]]
                self.assertEqual(sorted(texts), sorted(wanted))
        for node in self.nodes:
            self.assertEqual(sum(map(len, node.sent.values())), node.counters.spool_written)

    def see_history(self, channel_id: str, wanted: list[bytes], killed: bool) -> None:
        reading = self.nodes[0].spool.recent(channel_id)
        self.heal()
        found = self.successResultOf(reading).entries
        if not killed:
            self.assertEqual(sorted(text for _, text in found), sorted(wanted))
        numbers = {text: number for number, text in found}
        for node in self.nodes:
            for entry in node.diaries[channel_id].told:
                if not killed and isinstance(entry, tuple):
                    self.assertEqual(numbers[entry[1]], entry[0])

    def run_history(self, random: Random, killed: bool) -> None:
        self.joined: list[Joined] = []
        self.start()
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
