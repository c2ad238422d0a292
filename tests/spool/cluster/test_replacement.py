# SPDX-License-Identifier: Apache-2.0

"""
Shards are replaced on two nodes, step by step, while messages come in any order with the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, capturedLogs, formatEvent

from logplex.interfaces import Recent, Step, StoreAway, WrongStep
from tests.doubles.followers import Diary
from tests.doubles.model_redis import ModelLink
from tests.doubles.spool_nodes import CHANNELS, MOVES_TO_S3, URLS, SpoolNode, SpoolsTestCase

#: Who read their history at a time: answers come one by one.
MOST_JOINING = 3


class StepsTests(SpoolsTestCase):
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

    def test_a_shard_under_another_url_is_no_new_one(self) -> None:
        self.shards[URLS[1]] = self.shards[URLS[0]]
        error = self.failureResultOf(self.take(self.replacement.prepare(URLS[1:])), ValueError)
        self.assertIn("'redis://s2' is the same Redis database as 'redis://s1'", str(error.value))
        self.assertEqual(self.replacement.step, Step.SETTLED)

    def test_two_new_shards_are_two_databases(self) -> None:
        self.shards[URLS[2]] = self.shards[URLS[1]]
        self.failureResultOf(self.take(self.replacement.prepare(URLS)), ValueError)

    def test_of_two_shards_that_are_one_either_can_be_given_up(self) -> None:
        self.shards[URLS[2]] = self.shards[URLS[0]]
        self.nodes[0].begin(URLS[::2])
        self.heal()
        self.successResultOf(self.take(self.nodes[0].spool.replacement.prepare(URLS[:2])))

    def test_a_switch_names_the_shards_that_have_not_taken_what_waited(self) -> None:
        for answers in (True, False):
            self.take(self.replacement.prepare(URLS[:2]))
            writing = self.nodes[0].links[0]
            self.nodes[0].append("a")
            with capturedLogs() as events:
                committing = Deferred.fromCoroutine(self.replacement.commit())
                if answers:
                    self.heal()
                self.clock.advance(5.0)
                self.successResultOf(committing)
            warned = [each for each in events if each["log_level"] == LogLevel.warn]
            said = [formatEvent(each) for each in warned]
            self.assertEqual(len(said), 0 if answers else 1)
            self.assertEqual(bool(writing.sent), not answers)
            if said:
                self.assertIn("have not taken what waited for them: redis://s1.", said[0])
            self.heal()
            self.take(self.replacement.abort())
            self.take(self.replacement.abort())

    def test_a_shard_that_stays_keeps_its_links(self) -> None:
        before = len(self.nodes[0].links)
        self.take(self.replacement.prepare(URLS[:2]))
        self.assertEqual(len(self.nodes[0].links) - before, 3)

    def test_why_they_were_not_replaced_is_one_line_in_the_log(self) -> None:
        with capturedLogs() as events:
            preparing = Deferred.fromCoroutine(self.replacement.prepare(URLS[:2]))
            self.assertEqual(self.replacement.troubles(), ["away"])
            self.clock.advance(10.0)
            self.heal()
        self.assertEqual(self.replacement.troubles(), [])
        self.failureResultOf(preparing, StoreAway)
        said = [formatEvent(each) for each in events if each["log_level"] >= LogLevel.warn]
        self.assertEqual(said, ["the shards are not replaced: not there in time: away"])

    def test_who_follows_while_the_channels_are_listened_to_is_told_of_one_interruption(
        self,
    ) -> None:
        spool, early, late = self.nodes[0].spool, Diary(), Diary()
        spool.join(MOVES_TO_S3, early)
        self.heal()
        preparing = Deferred.fromCoroutine(self.replacement.prepare(URLS[1:]))
        for link in self.links():
            link.connect()
        self.travel(lambda: any(each.asked("SUBSCRIBE") for each in self.shards[URLS[1]].links))
        self.shards[URLS[2]].restart()
        following = spool.join(MOVES_TO_S3, late)
        spool.leave(MOVES_TO_S3, early)
        self.travel(lambda: preparing.called)
        self.successResultOf(preparing)
        self.heal()
        self.successResultOf(following)
        self.assertEqual(late.told, ["interrupted", "resumed", "missed"])


class AbortTests(SpoolsTestCase):
    """A new shard is prepared on both nodes, the first node loses it, and the step is aborted."""

    def setUp(self) -> None:
        self.begin(URLS[0])
        self.diary = Diary()
        self.nodes[0].spool.join(MOVES_TO_S3, self.diary)
        self.heal()
        self.take("prepare", URLS[::2])

    def take(self, step: str, *arguments: object) -> None:
        for node in self.nodes:
            taking = Deferred.fromCoroutine(getattr(node.spool.replacement, step)(*arguments))
            self.heal_all_but_lost()
            self.successResultOf(taking)

    def heal_all_but_lost(self) -> None:
        for _ in range(8):
            for link in self.links():
                if link not in self.lost:
                    link.connect()
            self.travel(lambda: not any(each.sent or each.arriving for each in self.links()))
            self.clock.advance(1.0)

    def lose(self) -> None:
        self.lost = [each for each in self.nodes[0].links if each.redis is self.shards[URLS[2]]]
        for link in self.lost:
            link.cut(late=False)

    lost: list[ModelLink] = []

    def test_what_nobody_has_written_to_is_no_loss(self) -> None:
        self.lose()
        self.take("abort")
        self.assertEqual(self.diary.told, ["interrupted", "resumed"])

    def test_what_this_node_has_not_heard_since_a_commit_may_be_missing(self) -> None:
        self.lose()
        for step in ("commit", "abort", "abort"):
            self.take(step)
        self.assertEqual(self.diary.told, ["interrupted", "resumed", "missed"])

    def test_where_another_node_was_heard_its_messages_may_be_missing(self) -> None:
        other = self.nodes[1].spool
        committing = Deferred.fromCoroutine(other.replacement.commit())
        self.heal()
        self.successResultOf(committing)
        other.append(MOVES_TO_S3, [b"heard"])
        self.heal()
        self.lose()
        other.append(MOVES_TO_S3, [b"not heard"])
        aborting = Deferred.fromCoroutine(other.replacement.abort())
        self.heal_all_but_lost()
        self.successResultOf(aborting)
        self.take("abort")
        _, *told = self.diary.told
        self.assertEqual(told, ["interrupted", "resumed", "missed"])


class HistoriesTests(SpoolsTestCase):
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
            elif what < 0.86 and self.joining < MOST_JOINING:
                joining = self.join(random.choice(self.nodes), random.choice(CHANNELS))
                Deferred.fromCoroutine(joining)
            elif what < 0.95:
                self.clock.advance(random.choice((0.005, 0.02, 0.06)))
            else:
                link.connect()

    def sent(self, channel_id: str) -> dict[str, int]:
        """Return the number of messages that each node has sent to a channel."""
        return {each.name: len(each.sent[channel_id]) for each in self.nodes}

    async def join(self, node: SpoolNode, channel_id: str) -> None:
        """Begin to read as a tail does."""
        diary = Diary()
        self.joining += 1
        sent, steps = self.sent(channel_id), self.steps
        recent = await node.spool.join(channel_id, diary)
        place = len(diary.told)
        if steps != self.steps:
            # What was on a shard that has been given up by now cannot be found.
            sent = self.sent(channel_id)
        self.joining -= 1
        self.joined.append((channel_id, recent, diary, place, sent))

    def take(self, random: Random, step: Callable[[SpoolNode], Any]) -> None:
        """Take both nodes through a step, in any order."""
        for node in random.sample(self.nodes, 2):
            self.steps += 1
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
        self.joining = self.steps = 0
        self.joined: list[tuple[str, Recent, Diary, int, dict[str, int]]] = []
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
        for channel_id, recent, diary, place, sent in self.joined:
            texts = [text for _, text in recent.entries]
            live = diary.told[place:]
            texts += [each for each in live if isinstance(each, bytes)]
            texts += [each[1] for each in live if isinstance(each, tuple)]
            late = {
                text for node in self.nodes for text in node.sent[channel_id][sent[node.name] :]
            }
            if recent.complete:
                self.assertEqual(late.difference(texts), set())
            self.assertEqual(len(texts), len(set(texts)), "shown twice")
        for node in self.nodes:
            self.assertEqual(sum(map(len, node.sent.values())), node.counters.spool_written)
