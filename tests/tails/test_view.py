# SPDX-License-Identifier: Apache-2.0

"""Messages in the form in which readers get them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from logplex.tails import view as module
from logplex.tails.view import Filter, Filters, View, blocks
from logplex.tails.window import Entry
from tests.doubles.tails import cooked


class FiltersTests(SynchronousTestCase):
    """The filters that a message passes are found at once."""

    WORDS = st.sampled_from([b"", b"a", b"b", b"web", b"web.1", b"web.1.2", b"webber", b".", b"a."])

    @given(
        filters=st.lists(st.tuples(st.none() | WORDS, st.none() | WORDS)),
        removed=st.integers(0, 3),
        pairs=st.lists(st.tuples(WORDS, WORDS), max_size=20),
    )
    @settings(deadline=None)
    def test_those_that_show_a_message(
        self,
        filters: list[Filter],
        removed: int,
        pairs: list[tuple[bytes, bytes]],
    ) -> None:
        found = Filters()
        for each in filters:
            found.add(each)
        for pair in pairs:
            found.matching(pair)
        for each in filters[:removed]:
            found.remove(each)
        left = set(filters) - set(filters[:removed])
        for pair in pairs:
            shown = [each for each in left if View(*each, events=False).shows(*pair)]
            self.assertCountEqual(shown, found.matching(pair))

    def test_source(self) -> None:
        view = View(b"app", None, False)
        self.assertTrue(view.shows(b"app", b"web.1"))
        self.assertFalse(view.shows(b"heroku", b"web.1"))
        self.assertFalse(view.shows(b"ap", b"web.1"))

    def test_process(self) -> None:
        view = View(None, b"web", False)
        for process, is_shown in ((b"web", True), (b"web.1", True), (b"webber.1", False)):
            self.assertEqual(view.shows(b"app", process), is_shown, process)
        self.assertFalse(View(None, b"web.1", False).shows(b"app", b"web.10"))

    def test_senders_cannot_fill_the_memory(self) -> None:
        self.patch(module, "MAX_REMEMBERED_PAIRS", 10)
        found = Filters()
        found.add((None, None))
        for n in range(100):
            self.assertEqual([(None, None)], found.matching((b"app", b"web.%d" % n)))
            self.assertLessEqual(len(found._found), 10)


class BlocksTests(SynchronousTestCase):
    @given(
        sizes=st.lists(st.integers(0, 30), max_size=20),
        first=st.none() | st.integers(1, 5),
        max_bytes=st.integers(1, 50),
    )
    @settings(deadline=None)
    def test_together_they_are_what_was_cut(
        self, sizes: list[int], first: int | None, max_bytes: int
    ) -> None:
        messages = [b"x" * size for size in sizes]
        cut = list(blocks(first, messages, max_bytes))
        self.assertEqual(messages, [message for block in cut for message in block.messages])
        numbers = [number for block in cut for number in block.numbers]
        self.assertEqual([None if first is None else first + n for n in range(len(sizes))], numbers)
        for block in cut:
            self.assertTrue(len(block.messages) == 1 or sum(map(len, block.messages)) <= max_bytes)


class TextsTests(SynchronousTestCase):
    def test_a_message_is_formatted_once(self) -> None:
        view = View(None, None, True)
        entry = Entry.of(7, cooked(b"hello"))
        expected = [b"id: 7\ndata: 2026-01-02T03:04:05+00:00 app[web.1]: hello\n\n"]
        self.assertEqual(expected, view.texts([entry]))
        self.assertIsNone(entry.message)
        self.assertEqual(expected, view.texts([entry]))

    def test_messages_and_notices_keep_their_order(self) -> None:
        view = View(None, None, False)
        entries = [Entry.of(1, cooked(b"a")), Entry.notice(b"notice\n"), Entry.of(2, cooked(b"b"))]
        self.assertEqual(
            [b"a", b"e", b"b"], [text.split()[-1][-1:] for text in view.texts(entries)]
        )

    def test_a_live_block_shows_what_a_waiting_one_shows(self) -> None:
        for view in (View(b"app", None, True), View(None, b"web", False)):
            messages = [cooked(b"a"), cooked(b"b", b"other", b"run.1"), b"nonsense", cooked(b"c")]
            filters = Filters()
            filters.add(view.filter)
            (live,) = blocks(5, messages, 10_000)
            (waiting,) = blocks(5, messages, 10_000)
            selected = live.select(filters, format_all=False)
            self.assertEqual(({view.filter: [0, 3]}, 1), (selected, live.unparsable))
            self.assertEqual(live.shown(view, [0, 3])[1], view.texts(waiting.entries([0, 3])))

    def test_a_block_that_is_shown_whole(self) -> None:
        view = View(None, None, True)
        filters = Filters()
        filters.add(view.filter)
        for messages in ([cooked(b"a"), cooked(b"b")], [cooked(b"a"), b"nonsense", cooked(b"b")]):
            for format_all in (True, False):
                (block,) = blocks(5, messages, 10_000)
                ((_, indexes),) = block.select(filters, format_all).items()
                numbers, texts = block.shown(view, indexes)
                self.assertEqual([5, 4 + len(messages)], list(numbers))
                self.assertEqual(view.texts(block.entries(indexes)), texts)
                self.assertEqual(len(messages) - 2, block.unparsable)
