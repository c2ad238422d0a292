# SPDX-License-Identifier: Apache-2.0

"""
The moment at which a follower joins a channel of the cluster's spool.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from logplex.interfaces import Recent
from logplex.spool.cluster.ring import Ring
from tests.doubles.followers import Diary
from tests.doubles.model_redis import ModelLink
from tests.doubles.spool_nodes import URLS, SpoolsTestCase

#: A channel whose home is the first of two shards.
HOME = next(name for name in map(str, range(99)) if Ring(URLS[:2]).shard_of(name) == URLS[0])


class JoinTests(SpoolsTestCase):
    """A follower of a channel on two shards, and what its reader is shown."""

    def setUp(self) -> None:
        self.begin(*URLS[:2])
        self.node, self.other = self.nodes
        self.writing, self.reading, self.listening = self.node.links[:3]
        self.diary = Diary()
        self.place = 0
        self.recent = Recent(0, [])

    def join(self) -> Deferred[Recent]:
        joining = self.node.spool.join(HOME, self.diary)
        return joining.addCallback(self.joined)

    def joined(self, recent: Recent) -> Recent:
        self.recent, self.place = recent, len(self.diary.told)
        return recent

    def shown(self, joining: Deferred[Recent]) -> list[bytes]:
        """Return the messages that the reader was shown."""
        self.successResultOf(joining)
        live = self.diary.told[self.place :]
        texts = [text for _, text in self.recent.entries]
        return texts + [each[1] if isinstance(each, tuple) else each for each in live]  # type: ignore[misc]

    def answered(self, *links: ModelLink) -> None:
        """Let these links answer."""
        while any(link.sent or link.arriving for link in links):
            for link in links:
                link.execute()
                link.arrive()

    def test_what_comes_while_another_shard_is_asked_is_in_the_result(self) -> None:
        self.node.spool.append(HOME, [b"before"])
        self.heal()
        joining = self.join()
        self.answered(self.listening, self.reading, self.writing)
        self.assertNoResult(joining)
        self.node.spool.append(HOME, [b"meanwhile"])
        self.clock.advance(0.05)
        self.answered(self.listening, self.reading, self.writing)
        self.assertNoResult(joining)
        self.heal()
        self.node.spool.append(HOME, [b"after"])
        self.heal()
        self.assertEqual(self.shown(joining), [b"before", b"meanwhile", b"after"])
        self.assertEqual(len(self.recent.entries), 2)

    def test_what_was_published_before_the_reading_and_not_heard_is_shown_once(self) -> None:
        early = Diary()
        self.node.spool.join(HOME, early)
        self.heal()
        joining = self.join()
        self.answered(self.listening)
        self.other.spool.append(HOME, [b"one"])
        self.clock.advance(0.05)
        self.answered(self.other.links[0])
        self.answered(*[link for link in self.links() if link is not self.listening])
        self.assertNoResult(joining)
        self.heal()
        self.assertEqual(self.shown(joining), [b"one"])
        self.assertEqual([each[1] for each in early.told if isinstance(each, tuple)], [b"one"])

    def test_if_a_shard_comes_back_meanwhile_all_is_read_again(self) -> None:
        self.node.spool.append(HOME, [b"before"])
        self.heal()
        joining = self.join()
        self.answered(self.listening, self.reading)
        self.listening.cut(late=False)
        self.node.spool.append(HOME, [b"own"])
        self.other.spool.append(HOME, [b"theirs"])
        self.listening.connect()
        self.answered(*[link for link in self.links() if link.redis is self.shards[URLS[0]]])
        self.heal()
        self.node.spool.append(HOME, [b"after"])
        self.heal()
        shown = self.shown(joining)
        self.assertTrue(self.recent.complete)
        self.assertEqual(sorted(shown), [b"after", b"before", b"own", b"theirs"])
        self.assertEqual(shown[-1], b"after")

    def test_messages_that_were_told_and_still_wait_are_in_the_result(self) -> None:
        """The followers will not be told of them again."""
        self.node.spool.join(HOME, Diary())
        self.heal()
        for link in (self.writing, self.listening):
            link.cut(late=False)
        self.node.spool.append(HOME, [b"waits"])
        self.listening.connect()
        self.writing.connect()
        self.answered(self.writing)
        reachable = [link for link in self.links() if link is not self.writing]
        self.answered(*reachable)
        joining = self.join()
        self.answered(*reachable)
        self.assertNoResult(joining)
        self.clock.advance(1.0)
        self.answered(*reachable)
        self.assertEqual(self.shown(joining), [b"waits"])
        self.heal()
        self.node.spool.append(HOME, [b"after"])
        self.heal()
        self.assertEqual(self.shown(joining), [b"waits", b"after"])

    def test_who_leaves_while_joining_is_told_nothing(self) -> None:
        joining = self.join()
        self.node.spool.leave(HOME, self.diary)
        self.heal()
        self.successResultOf(joining)
        self.node.spool.append(HOME, [b"after"])
        self.heal()
        self.assertEqual(self.diary.told, [])
        name = f"logplex:live:0:{HOME}".encode()
        self.assertEqual([link for link in self.links() if name in link.subscribed], [])

    def test_a_join_that_is_cancelled_leaves_nothing(self) -> None:
        joining = self.join()
        joining.addErrback(lambda _: None)
        joining.cancel()
        self.heal()
        self.node.spool.append(HOME, [b"after"])
        self.heal()
        self.assertEqual(self.diary.told, [])
        name = f"logplex:live:0:{HOME}".encode()
        self.assertEqual([link for link in self.links() if name in link.subscribed], [])
