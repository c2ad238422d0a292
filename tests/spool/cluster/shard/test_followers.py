# SPDX-License-Identifier: Apache-2.0

"""
The followers of channels on a shard, and the messages that each was told.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from logplex.spool.cluster.shard.follower import Following, Progress, Reading
from logplex.spool.cluster.wire.history import History, StreamEntry
from logplex.spool.cluster.wire.scripts import Origin, Published
from tests.doubles.followers import Diary

OWN, OTHER = Origin(b"own", b"1"), Origin(b"other", b"1")


def publication(
    first: int,
    *messages: bytes,
    batch: int = 1,
    by: Origin = OTHER,
    before: int | None = None,
) -> Published:
    before = first - 1 if before is None else before
    return Published(first, before, batch, by, list(messages))


def entry(first: int, messages: list[bytes], batch: int, by: Origin) -> StreamEntry:
    return StreamEntry(first, messages, first - 1, batch, by)


class ProgressTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.following = Following()
        self.progress = Progress(self.following, OWN)
        self.read(10)
        self.diary = self.join()

    def read(self, last: int, own_batch: int = 0) -> Reading:
        """The history is read for a join."""
        reading = Reading(1_500)
        self.progress.readings.append(reading)
        self.progress.read(reading, History(last, own_batch, []))
        return reading

    def join(self) -> Diary:
        diary = Diary()
        self.following.begin(diary)
        self.following.finish(diary)
        return diary

    def come_back(
        self, last: int, *history: StreamEntry, told: int = 0, own_batch: int = 0
    ) -> None:
        self.progress.subscribed()
        self.progress.caught_up(History(last, own_batch, list(history)), told)

    def test_publications_are_passed_on(self) -> None:
        self.progress.published(publication(11, b"a", b"b"))
        self.assertEqual(self.diary.since(), [(11, b"a"), (12, b"b")])

    def test_what_comes_before_the_first_reading_waits_for_it(self) -> None:
        self.progress = Progress(self.following, OWN)
        self.progress.published(publication(11, b"in the history", batch=1))
        self.progress.published(publication(12, b"behind it", batch=2))
        self.assertEqual(self.diary.since(), [])
        self.read(11)
        self.assertEqual(self.diary.since(), [(12, b"behind it")])

    def test_a_reading_knows_what_was_told_since_it_was_asked_for(self) -> None:
        reading = Reading(1_500)
        self.progress.readings.append(reading)
        for number, text in ((11, b"a"), (12, b"b")):
            self.progress.published(publication(number, text, batch=number))
        self.progress.read(reading, History(11, 0, []))
        self.progress.published(publication(13, b"c", batch=13))
        known = reading.up_to_now()
        self.assertEqual(
            (known.last, [each.messages for each in known.entries]), (13, [[b"b"], [b"c"]])
        )
        self.assertEqual(self.diary.since(), [(11, b"a"), (12, b"b"), (13, b"c")])

    def test_a_reading_has_what_waits_for_the_shard_and_was_told(self) -> None:
        reading = Reading(1_500, [(4, [b"taken"]), (5, [b"waits"])])
        self.progress.readings.append(reading)
        self.progress.read(reading, History(10, 4, []))
        self.assertEqual(reading.own_messages(), [b"waits"])

    def test_a_reading_keeps_no_more_than_the_shard(self) -> None:
        reading = Reading(3)
        self.progress.readings.append(reading)
        for number in range(11, 20):
            self.progress.published(publication(number, b"x", batch=number))
        self.assertEqual([each.first for each in reading.up_to_now().entries], [17, 18, 19])

    def test_who_has_left_is_told_nothing(self) -> None:
        self.following.leave(self.diary)
        self.progress.published(publication(11, b"a"))
        self.assertEqual((self.diary.since(), self.following.is_unused), ([], True))

    def test_who_leaves_while_joining_is_told_nothing(self) -> None:
        diary = Diary()
        self.following.begin(diary)
        self.following.leave(diary)
        self.following.leave(self.diary)
        self.assertFalse(self.following.is_unused)
        self.following.finish(diary)
        self.progress.published(publication(11, b"a"))
        self.assertEqual((diary.since(), self.following.is_unused), ([], True))

    def test_who_joins_again_is_told_once(self) -> None:
        self.following.begin(self.diary)
        self.following.finish(self.diary)
        self.progress.published(publication(11, b"a"))
        self.assertEqual(self.diary.since(), [(11, b"a")])

    def test_a_batch_that_was_repeated_after_a_restart_is_not_told_twice(self) -> None:
        self.progress.published(publication(11, b"a", batch=4))
        self.progress.published(publication(99, b"a", batch=4, before=11))
        self.progress.published(publication(100, b"b", batch=5))
        self.assertEqual(self.diary.since(), [(11, b"a"), (100, b"b")])

    def test_a_follower_that_fails_costs_only_itself(self) -> None:
        self.diary.told = None  # type: ignore[assignment]
        other = self.join()
        self.progress.published(publication(11, b"a"))
        self.assertEqual(other.since(), [(11, b"a")])
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    # The shard goes away.

    def test_an_interruption_is_told_once(self) -> None:
        self.progress.lost([], 4)
        self.progress.lost([], 4)
        self.assertEqual(self.diary.since(), ["interrupted"])

    def test_own_messages_are_told_without_number_while_the_shard_is_away(self) -> None:
        self.progress.published(publication(11, b"heard", batch=3, by=OWN))
        self.progress.lost([(3, [b"heard"]), (4, [b"waited"])], 3)
        self.progress.received([b"new"])
        self.assertEqual(self.diary.since(), [(11, b"heard"), "interrupted", b"waited", b"new"])

    def test_they_are_not_told_again_when_they_come_through_the_shard(self) -> None:
        self.progress.lost([(4, [b"waited"])], 4)
        self.progress.received([b"new"])
        self.come_back(10, told=5)
        self.diary.since()
        self.progress.published(publication(11, b"waited", batch=4, by=OWN))
        self.progress.published(publication(12, b"new", batch=5, by=OWN))
        self.progress.published(publication(13, b"next", batch=6, by=OWN))
        self.assertEqual(self.diary.since(), [(13, b"next")])

    def test_who_joins_while_the_shard_is_away_is_told_so(self) -> None:
        """Waiting messages are in the answer to the join."""
        self.progress.lost([(4, [b"waits"])], 4)
        diary = self.join()
        self.progress.received([b"new"])
        self.assertEqual(diary.since(), ["interrupted", b"new"])
        self.come_back(10, told=5)
        self.assertEqual(diary.since(), ["resumed"])
        self.progress.published(publication(11, b"next"))
        self.assertEqual(diary.since(), [(11, b"next")])

    def test_a_shard_that_was_never_read_may_have_more(self) -> None:
        self.progress = Progress(self.following, OWN)
        self.progress.lost([], 4)
        self.come_back(10, told=5)
        self.assertEqual(self.diary.since(), ["interrupted", "resumed", "missed"])

    # And comes back.

    def test_nothing_was_missed(self) -> None:
        self.progress.lost([], 4)
        self.come_back(10)
        self.assertEqual(self.diary.since(), ["interrupted", "resumed"])
        self.assertFalse(self.progress.away)

    def test_what_was_missed_is_told_from_the_history(self) -> None:
        self.progress.lost([], 4)
        history = [
            entry(10, [b"known"], 1, OTHER),
            entry(11, [b"a", b"b"], 2, OTHER),
        ]
        self.come_back(12, *history)
        self.assertEqual(self.diary.since(), ["interrupted", "resumed", (11, b"a"), (12, b"b")])

    def test_own_messages_in_the_history_were_told_before(self) -> None:
        self.progress.lost([(4, [b"own"])], 4)
        history = [entry(11, [b"own"], 4, OWN), entry(12, [b"theirs"], 2, OTHER)]
        self.come_back(12, *history, told=4)
        self.assertEqual(self.diary.since(), ["interrupted", b"own", "resumed", (12, b"theirs")])

    def test_what_was_written_but_not_heard_is_told_from_the_history(self) -> None:
        self.progress.lost([(5, [b"waits"])], 5)
        history = [entry(11, [b"unheard"], 4, OWN), entry(12, [b"waits"], 5, OWN)]
        self.come_back(12, *history, told=5, own_batch=5)
        self.assertEqual(self.diary.since(), ["interrupted", b"waits", "resumed", (11, b"unheard")])

    def test_what_was_told_is_remembered_over_several_interruptions(self) -> None:
        self.progress.lost([(4, [b"a"])], 4)
        self.progress.received([b"b"])
        self.come_back(10, told=5, own_batch=3)
        self.progress.lost([(5, [b"b"]), (7, [b"c"])], 5)
        self.come_back(10, told=8, own_batch=3)
        self.progress.lost([(9, [b"d"])], 9)
        history = [
            entry(11, [b"a"], 4, OWN),
            entry(12, [b"b"], 5, OWN),
            entry(13, [b"c"], 7, OWN),
        ]
        self.come_back(13, *history, told=9, own_batch=7)
        self.progress.published(publication(14, b"d", batch=9, by=OWN))
        self.progress.published(publication(15, b"e", batch=10, by=OWN))
        told = [each for each in self.diary.since() if not isinstance(each, str)]
        self.assertEqual(told, [b"a", b"b", b"c", b"d", (15, b"e")])

    def test_a_hole_in_the_history_is_said(self) -> None:
        for last, history in (
            (13, [entry(12, [b"a"], 2, OTHER), entry(13, [b"b"], 3, OTHER)]),
            (13, [entry(11, [b"a"], 2, OTHER), entry(13, [b"b"], 3, OTHER)]),
            (13, [entry(11, [b"a"], 2, OTHER)]),
            (13, []),
            (0, []),
        ):
            self.setUp()
            self.progress.lost([], 4)
            self.come_back(last, *history)
            self.assertEqual(self.diary.since()[:3], ["interrupted", "resumed", "missed"], history)

    def test_what_is_published_during_the_reading_is_told_once_and_after_it(self) -> None:
        self.progress.lost([], 4)
        self.progress.subscribed()
        self.progress.published(publication(11, b"a", batch=2))
        self.progress.published(publication(12, b"b", batch=3))
        self.assertEqual(self.diary.since(), ["interrupted"])
        self.progress.caught_up(History(11, 0, [entry(11, [b"a"], 2, OTHER)]), 0)
        self.assertEqual(self.diary.since(), ["resumed", (11, b"a"), (12, b"b")])

    def test_more_than_can_be_held_is_said(self) -> None:
        self.progress.lost([], 4)
        self.progress.subscribed()
        for number in range(1_200):
            self.progress.published(publication(11 + number, b"x", batch=2 + number))
        self.progress.caught_up(History(10, 0, []), 0)
        told = self.diary.since()
        self.assertEqual((told[1], told[-1], len(told)), ("resumed", "missed", 1_003))
        self.progress.published(publication(1_211, b"next", batch=1_300))
        self.assertEqual(self.diary.since(), [(1_211, b"next")])

    def test_what_was_held_in_vain_because_it_was_in_the_history_is_not_said(self) -> None:
        self.progress.lost([], 4)
        self.progress.subscribed()
        for number in range(1_200):
            self.progress.published(publication(11 + number, b"x", batch=2 + number))
        self.progress.caught_up(History(1_210, 0, [entry(11, [b"x"] * 1_200, 2_000, OTHER)]), 0)
        self.assertNotIn("missed", self.diary.since())

    def test_a_publication_that_was_not_heard_is_said(self) -> None:
        self.progress.published(publication(11, b"a", batch=1))
        self.progress.published(publication(14, b"d", batch=4))
        self.assertEqual(self.diary.since(), [(11, b"a"), "missed", (14, b"d")])

    def test_a_jump_of_the_numbers_alone_is_not(self) -> None:
        self.progress.published(publication(1_000, b"a", batch=1, before=10))
        self.assertEqual(self.diary.since(), [(1_000, b"a")])

    def test_a_shard_that_lost_its_numbers_is_said_once(self) -> None:
        self.progress.lost([], 4)
        self.come_back(7)
        self.progress.published(publication(1_000, b"a", batch=1, before=7))
        self.assertEqual(self.diary.since(), ["interrupted", "resumed", "missed", (1_000, b"a")])

    def test_a_shard_whose_clock_was_set_back_too_is_heard(self) -> None:
        """Its numbers begin below those of before, and are numbers all the same."""
        self.progress.published(publication(100_000, b"a", batch=1, before=10))
        self.diary.since()
        self.progress.lost([], 4)
        self.come_back(0)
        self.progress.published(publication(500, b"b", batch=2, before=0))
        self.progress.published(publication(501, b"c", batch=3))
        told = ["interrupted", "resumed", "missed", (500, b"b"), (501, b"c")]
        self.assertEqual(self.diary.since(), told)

    def test_so_is_one_that_was_emptied_meanwhile(self) -> None:
        self.progress.published(publication(100_000, b"a", batch=1, before=10))
        self.progress.published(publication(500, b"b", batch=2, before=0))
        self.progress.published(publication(501, b"c", batch=3))
        told = [(100_000, b"a"), "missed", (500, b"b"), (501, b"c")]
        self.assertEqual(self.diary.since(), told)

    def test_numbers_that_jump_in_the_history_are_no_loss(self) -> None:
        self.progress.lost([], 4)
        self.come_back(1_000, StreamEntry(1_000, [b"a"], 10, 2, OTHER))
        self.assertEqual(self.diary.since(), ["interrupted", "resumed", (1_000, b"a")])

    def test_an_emptied_shard_is_said_with_the_next_message(self) -> None:
        self.progress.published(publication(1_000, b"a", batch=1, before=0))
        self.assertEqual(self.diary.since(), ["missed", (1_000, b"a")])


class TwoShardsTests(SynchronousTestCase):
    """While shards are replaced, a channel's messages may come from two."""

    def setUp(self) -> None:
        self.diary, following = Diary(), Following()
        self.old, self.new = (Progress(following, OWN) for _ in range(2))
        for progress in (self.old, self.new):
            progress.read(Reading(1_500), History(0, 0, []))
        following.begin(self.diary)
        following.finish(self.diary)

    def test_a_number_never_goes_back(self) -> None:
        self.new.published(publication(100, b"a", batch=1, before=0))
        self.old.published(publication(11, b"b", batch=2, before=0))
        self.new.published(publication(101, b"c", batch=3))
        self.assertEqual(self.diary.since(), [(100, b"a"), b"b", (101, b"c")])

    def test_both_away_is_one_interruption(self) -> None:
        self.old.lost([], 4)
        self.new.lost([], 4)
        for progress, last in ((self.old, 5), (self.new, 0)):
            progress.subscribed()
            progress.caught_up(History(last, 0, []), 0)
        self.assertEqual(self.diary.since(), ["interrupted", "resumed", "missed"])

    def test_a_shard_that_is_given_up_while_away_ends_the_interruption(self) -> None:
        self.old.lost([], 4)
        self.old.ended(unwritten=False)
        self.assertEqual(self.diary.since(), ["interrupted", "resumed", "missed"])
