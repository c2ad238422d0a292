# SPDX-License-Identifier: Apache-2.0

"""The entries that tails share while they are behind, and the place of each tail."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from logplex.tails.window import Entry, Place, Window


def entries(*sizes: int) -> list[Entry]:
    return [Entry.of(None, b"x" * size) for size in sizes]


class WindowTests(SynchronousTestCase):
    def test_read_from_a_position(self) -> None:
        window = Window()
        made = entries(1, 1, 1)
        window.append(made)
        self.assertEqual(made[1:], window.read(1, 1_000))
        self.assertEqual([], window.read(3, 1_000))

    def test_read_about_the_bytes_that_were_asked_for(self) -> None:
        window = Window()
        window.append(entries(60, 60, 60))
        self.assertEqual(2, len(window.read(0, 100)))
        self.assertEqual(1, len(window.read(0, 1)))

    def test_everything_stays_until_it_is_trimmed(self) -> None:
        window = Window()
        window.append(entries(1, 1, 1, 1))
        self.assertEqual(4, len(window.read(0, 1_000)))

    def test_bound_on_entries(self) -> None:
        window = Window()
        made = entries(1, 1, 1, 1)
        window.append(made)
        self.assertEqual(made[:2], window.trim(2, 1_000))
        self.assertEqual((2, 4), (window.start, window.end))

    def test_bound_on_bytes(self) -> None:
        window = Window()
        made = entries(60, 30, 50)
        window.append(made)
        self.assertEqual(made[:1], window.trim(10, 100))
        self.assertEqual([], window.trim(10, 100))

    def test_one_entry_always_has_room(self) -> None:
        window = Window()
        window.append(entries(500))
        self.assertEqual([], window.trim(10, 100))

    def test_positions_go_on_when_no_tail_is_behind(self) -> None:
        window = Window()
        window.append(entries(1))
        window.clear()
        window.skip(5)
        self.assertEqual((6, 6), (window.start, window.end))
        window.append(entries(1))
        self.assertEqual(1, len(window.read(6, 100)))

    @given(
        batches=st.lists(st.lists(st.integers(0, 40), max_size=6)),
        max_entries=st.integers(1, 8),
        max_bytes=st.integers(1, 100),
    )
    @settings(deadline=None)
    def test_the_newest_that_fit_are_kept(
        self, batches: list[list[int]], max_entries: int, max_bytes: int
    ) -> None:
        window = Window()
        expected: list[Entry] = []
        for sizes in batches:
            made = entries(*sizes)
            window.append(made)
            window.trim(max_entries, max_bytes)
            expected += made
            while len(expected) > max_entries or (
                len(expected) > 1 and sum(entry.size_bytes for entry in expected) > max_bytes
            ):
                del expected[0]
            self.assertEqual(expected, window.read(window.start, 10_000))


class PlaceTests(SynchronousTestCase):
    """A tail's place in a window that begins at position 0."""

    def numbered(self, *numbers: int | None) -> list[Entry]:
        return [Entry.of(number, b"x") for number in numbers]

    def test_nothing_is_lost_before_the_tail_came(self) -> None:
        place = Place(2)
        self.assertEqual(0, place.push(2, self.numbered(1, 2), 7.0))
        self.assertEqual((2, 0), (place.position, place.lost))

    def test_messages_that_are_pushed_out_are_lost(self) -> None:
        place = Place(1)
        self.assertEqual(2, place.push(3, self.numbered(1, 2, None), 7.0))
        self.assertEqual((3, 2, 7.0), (place.position, place.lost, place.lost_since))

    def test_the_time_is_that_of_the_first(self) -> None:
        place = Place()
        place.push(1, self.numbered(1), 7.0)
        place.push(2, self.numbered(2), 8.0)
        self.assertEqual((2, 7.0), (place.lost, place.lost_since))

    def test_messages_that_were_seen_elsewhere_are_not_lost(self) -> None:
        place = Place(seen=2)
        self.assertEqual(1, place.push(3, self.numbered(1, 2, 3), 7.0))

    def test_notices_are_not_lost(self) -> None:
        self.assertEqual(0, Place().push(1, [Entry.notice(b"x")], 7.0))
