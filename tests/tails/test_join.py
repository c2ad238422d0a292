# SPDX-License-Identifier: Apache-2.0

"""The beginning and the end of a reader's past."""

from __future__ import annotations

from functools import partial

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from logplex.interfaces import Recent
from logplex.tails import join
from logplex.tails.join import Past
from logplex.tails.view import View
from tests.doubles.tails import cooked

ALL = View(None, None, True)
NOW_US = 1_800_000_000_000_000

past_of = partial(join.past_of, now_us=NOW_US)


def recent(*numbers: int | None, last: int | None = None) -> Recent:
    """Kept messages with these numbers."""
    newest = max((number for number in numbers if number), default=0)
    return Recent(
        newest if last is None else last,
        [(number, cooked(b"m%d" % index)) for index, number in enumerate(numbers)],
    )


def numbers(shown: Past) -> list[int | None]:
    return [number for number, _ in shown.messages]


class NumTests(SynchronousTestCase):
    def test_as_many_of_the_newest_as_were_asked_for(self) -> None:
        self.assertEqual([2, 3], numbers(past_of(recent(1, 2, 3), ALL, 2, None)))

    def test_none(self) -> None:
        self.assertEqual([], numbers(past_of(recent(1, 2, 3), ALL, 0, None)))

    def test_more_than_there_are(self) -> None:
        self.assertEqual([1, 2, 3], numbers(past_of(recent(1, 2, 3), ALL, 10**12, None)))

    def test_counted_after_the_filters(self) -> None:
        kept = Recent(
            4,
            [
                (1, cooked(b"a", ps=b"web.1")),
                (2, cooked(b"b", ps=b"web.1")),
                (3, cooked(b"c", ps=b"worker.1")),
                (4, b"<42> blafasel"),
            ],
        )
        shown = past_of(kept, View(None, b"web", False), 2, None)
        self.assertEqual([1, 2], numbers(shown))
        self.assertEqual(1, shown.unparsable)


class FilterTests(SynchronousTestCase):
    def shown(self, source: bytes | None, ps: bytes | None) -> list[int | None]:
        kept = Recent(
            5,
            [
                (1, cooked(b"", b"app", b"web")),
                (2, cooked(b"", b"app", b"web.1")),
                (3, cooked(b"", b"app", b"webber.1")),
                (4, cooked(b"", b"heroku", b"web.1")),
                (5, cooked(b"", b"heroku", b"router")),
            ],
        )
        return numbers(past_of(kept, View(source, ps, False), 10, None))

    def test_ps_is_the_procid_or_its_beginning_before_a_dot(self) -> None:
        self.assertEqual([1, 2, 4], self.shown(None, b"web"))
        self.assertEqual([2, 4], self.shown(None, b"web.1"))

    def test_source_is_the_tokens_name(self) -> None:
        self.assertEqual([4, 5], self.shown(b"heroku", None))
        self.assertEqual([], self.shown(b"hero", None))

    def test_both(self) -> None:
        self.assertEqual([4], self.shown(b"heroku", b"web"))


class ResumeTests(SynchronousTestCase):
    def test_everything_after_the_last_seen_whatever_num_is(self) -> None:
        shown = past_of(recent(1, 2, 3, 4), ALL, 1, 2)
        self.assertEqual(([3, 4], b""), (numbers(shown), shown.comment))

    def test_nothing_new(self) -> None:
        shown = past_of(recent(1, 2), ALL, 10, 2)
        self.assertEqual(([], b""), (numbers(shown), shown.comment))

    def test_older_than_what_is_kept(self) -> None:
        shown = past_of(recent(7, 8), ALL, 10, 3)
        self.assertEqual(([7, 8], b"3 messages are gone"), (numbers(shown), shown.comment))

    def test_nothing_is_kept(self) -> None:
        shown = past_of(recent(last=8), ALL, 10, 3)
        self.assertEqual(([], b"5 messages are gone"), (numbers(shown), shown.comment))

    def test_a_number_to_come_is_unknown(self) -> None:
        shown = past_of(recent(1, 2, 3), ALL, 2, 4)
        self.assertEqual(([2, 3], b""), (numbers(shown), shown.comment))

    def test_a_number_that_never_was_is_unknown(self) -> None:
        shown = past_of(recent(NOW_US, NOW_US + 1), ALL, 1, 12_345)
        self.assertEqual(([NOW_US + 1], b""), (numbers(shown), shown.comment))

    def test_a_sequence_that_began_anew(self) -> None:
        for ago_us in (3_600_000_000, 15_000_000):
            shown = past_of(recent(NOW_US, NOW_US + 1), ALL, 1, NOW_US - ago_us)
            self.assertEqual([NOW_US, NOW_US + 1], numbers(shown))
            self.assertEqual(b"some messages may be missing", shown.comment)

    def jumped(self, before: int) -> Past:
        """Three kept messages, the second of which jumped."""
        kept = recent(NOW_US, NOW_US + 9_000, NOW_US + 9_001)
        return past_of(evolve(kept, jumps={NOW_US + 9_000: before}), ALL, 10, NOW_US)

    def test_numbers_that_jumped_without_a_loss(self) -> None:
        shown = self.jumped(NOW_US)
        self.assertEqual(([NOW_US + 9_000, NOW_US + 9_001], b""), (numbers(shown), shown.comment))

    def test_numbers_that_jumped_after_a_loss(self) -> None:
        self.assertEqual(b"7 messages are gone", self.jumped(NOW_US + 7).comment)

    def test_numbers_that_were_lost_before_they_jumped(self) -> None:
        for before in (0, NOW_US - 1):
            shown = self.jumped(before)
            self.assertEqual([NOW_US + 9_000, NOW_US + 9_001], numbers(shown))
            self.assertEqual(b"some messages may be missing", shown.comment)

    def test_numbers_that_the_spool_has_lost(self) -> None:
        for kept in (recent(), recent(1, 2, 3)):
            shown = past_of(kept, ALL, 2, NOW_US)
            self.assertEqual(numbers(past_of(kept, ALL, 2, None)), numbers(shown))
            self.assertEqual(b"some messages may be missing", shown.comment)

    def test_messages_without_number_after_the_last_seen(self) -> None:
        shown = past_of(recent(None, 1, None, 2, None), ALL, 10, 1)
        self.assertEqual(([None, 2, None], b""), (numbers(shown), shown.comment))

    def test_the_filters_apply(self) -> None:
        self.assertEqual([], numbers(past_of(recent(1, 2), View(b"other", None, True), 10, 1)))


class LastTests(SynchronousTestCase):
    """The number up to which the past goes."""

    def test_the_last_one_of_the_channel(self) -> None:
        kept = Recent(NOW_US - 100, [])
        for after in (None, NOW_US - 200, NOW_US - 50, 10**18):
            self.assertEqual(NOW_US - 100, past_of(kept, ALL, 10, after).last)

    def test_unknown_while_the_channel_moves(self) -> None:
        kept = Recent(NOW_US - 100, [], moving=True)
        self.assertEqual(0, past_of(kept, ALL, 10, NOW_US - 50).last)


class SeenTests(SynchronousTestCase):
    """The number up to which live messages are not new."""

    def seen(self, after: int | None, complete: bool = False) -> int:
        return past_of(Recent(NOW_US - 100, [], complete), ALL, 10, after).seen

    def test_live_messages_are_new(self) -> None:
        for after in (None, NOW_US - 200, NOW_US - 50, 10**18):
            self.assertEqual(0, self.seen(after, complete=True))

    def test_messages_seen_elsewhere_while_the_spool_is_away(self) -> None:
        self.assertEqual(NOW_US - 50, self.seen(NOW_US - 50))

    def test_no_number_that_cannot_be(self) -> None:
        for after in (None, 12_345, NOW_US + 1, 10**18):
            self.assertEqual(0, self.seen(after))
