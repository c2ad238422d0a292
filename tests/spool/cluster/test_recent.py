# SPDX-License-Identifier: Apache-2.0

"""
The recent messages of a channel: from its shard, its earlier shard, and the outbox.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent

from logplex.interfaces import Recent
from logplex.spool.cluster.ring import Ring
from tests.doubles.followers import Diary
from tests.doubles.spool_nodes import URLS, SpoolsTestCase

#: A channel that moves when the last shard joins the first.
MOVES = next(name for name in map(str, range(99)) if Ring(URLS[::2]).shard_of(name) == URLS[2])


class RecentTests(SpoolsTestCase):
    def setUp(self) -> None:
        self.begin(URLS[0])
        self.node, self.other = self.nodes
        self.spool = self.node.spool

    def recent(self, channel_id: str = "a") -> Recent:
        reading = self.spool.recent(channel_id)
        self.heal_all_but_writes()
        return self.successResultOf(reading)

    def heal_all_but_writes(self) -> None:
        """Let all connected shards answer."""
        while any(link.sent or link.arriving for link in self.links()):
            for link in self.links():
                link.execute()
                link.arrive()

    def heal_one(self, url: str) -> None:
        """Let the connected links of this shard answer."""
        links = [link for link in self.links() if link.redis is self.shards[url]]
        while any(link.sent or link.arriving for link in links):
            for link in links:
                link.execute()
                link.arrive()

    def lose(self, *urls: str) -> None:
        """This node loses these shards."""
        for link in self.node.links:
            if link.redis in [self.shards[url] for url in urls]:
                link.cut(late=False)

    def begin_again(self, urls: Sequence[str]) -> None:
        """This node restarts with these shards."""
        self.spool.close()
        self.node.begin(urls)
        self.spool = self.node.spool
        self.heal()

    def take(self, *steps: str, urls: Sequence[str] = ()) -> None:
        """Take both nodes through steps of a replacement."""
        for step in steps:
            for node in self.nodes:
                taking = getattr(node.spool.replacement, step)
                done = Deferred.fromCoroutine(taking(urls) if step == "prepare" else taking())
                self.heal()
                self.successResultOf(done)

    def test_everything_is_there(self) -> None:
        self.node.append("a")
        self.other.append("a")
        self.heal()
        recent = self.recent()
        self.assertEqual([text for _, text in recent.entries], [b"one 0", b"two 0"])
        self.assertEqual((recent.complete, recent.moving), (True, False))

    def test_what_waits_while_the_shard_is_away(self) -> None:
        self.node.append("a")
        self.heal()
        self.lose(URLS[0])
        self.node.append("a")
        self.spool.append("a", [b"not kept"], keep=False)
        self.node.append("b")
        self.node.append("a")
        waiting: list[tuple[int | None, bytes]] = [(None, b"one 1"), (None, b"one 2")]
        self.assertEqual(self.recent(), Recent(0, waiting, complete=False))

    def test_what_waits_while_the_shard_goes_away(self) -> None:
        for link in self.node.links[:3]:
            reading = self.spool.recent("q")
            self.assertNoResult(reading)
            self.spool.append("q", [b"waits"])
            link.cut(late=False)
            for each in self.node.links:
                each.cut(late=False)
            waits: list[tuple[int | None, bytes]] = [(None, b"waits")]
            self.assertEqual(self.successResultOf(reading), Recent(0, waits, complete=False))
            self.spool.forget("q")
            self.heal()

    def test_what_waits_for_a_channel_that_was_deleted_is_not_shown(self) -> None:
        self.lose(URLS[0])
        self.node.append("a")
        self.clock.advance(0.1)
        self.spool.forget("a")
        self.assertEqual(self.recent().entries, [])
        self.node.append("a")
        self.assertEqual(self.recent().entries, [(None, b"one 1")])

    def test_a_follower_is_told_of_what_is_not_in_it(self) -> None:
        self.lose(URLS[0])
        self.node.append("a")
        diary = Diary()
        self.successResultOf(self.spool.join("a", diary))
        diary.since()
        recent = self.recent()
        self.node.append("a")
        self.assertEqual((recent.entries, diary.since()), ([(None, b"one 0")], [b"one 1"]))

    def test_a_channel_that_moved_is_found_where_it_was(self) -> None:
        self.other.sent[MOVES] = []
        self.other.append(MOVES)
        self.heal()
        self.take("prepare", "commit", "make_permanent", urls=URLS[::2])
        self.other.append(MOVES)
        self.heal()
        recent = self.recent(MOVES)
        self.assertEqual([text for _, text in recent.entries], [b"two 0", b"two 1"])
        self.assertTrue(recent.complete)
        self.lose(URLS[2])
        self.spool.append(MOVES, [b"waits"])
        recent = self.recent(MOVES)
        self.assertEqual([text for _, text in recent.entries], [b"two 0", b"waits"])
        self.assertFalse(recent.complete)

    def test_where_it_was_need_not_be_there(self) -> None:
        self.take("prepare", "commit", "make_permanent", urls=URLS[::2])
        self.spool.append(MOVES, [b"new"])
        self.heal()
        self.lose(URLS[0])
        recent = self.recent(MOVES)
        self.assertEqual(([text for _, text in recent.entries], recent.complete), ([b"new"], True))

    def test_another_shard_that_stands_still_is_not_waited_for_long(self) -> None:
        self.take("prepare", "commit", "make_permanent", urls=URLS[::2])
        self.spool.append(MOVES, [b"new"])
        self.heal()
        reading = self.spool.recent(MOVES)
        self.heal_one(URLS[2])
        self.assertNoResult(reading)
        self.clock.advance(0.25)
        recent = self.successResultOf(reading)
        self.assertEqual(([text for _, text in recent.entries], recent.complete), ([b"new"], True))
        self.heal_all_but_writes()
        self.assertEqual(self.recent(MOVES).entries, recent.entries)

    def test_one_database_under_two_urls_is_read_once(self) -> None:
        self.shards[URLS[2]] = self.shards[URLS[0]]
        with capturedLogs() as events:
            self.begin_again(URLS[::2])
        self.spool.append("a", [b"once"])
        self.heal()
        self.assertEqual([text for _, text in self.recent().entries], [b"once"])
        (trouble,) = self.spool.troubles()
        self.assertEqual([formatEvent(each) for each in events], [trouble])
        self.assertIn("'redis://s1' and 'redis://s3' are the same Redis database", trouble)

    def test_while_it_moves_both_its_homes_are_needed(self) -> None:
        self.take("prepare", "commit", urls=URLS[::2])
        self.spool.append(MOVES, [b"new"])
        self.heal()
        recent = self.recent(MOVES)
        self.assertEqual((recent.complete, recent.moving), (True, True))
        self.lose(URLS[0])
        recent = self.recent(MOVES)
        self.assertEqual(([text for _, text in recent.entries], recent.complete), ([b"new"], False))
