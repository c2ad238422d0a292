"""Messages in the form in which readers get them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from logplex.syslog.inner import tail_lines, tail_matches
from logplex.tails.view import View, blocks
from logplex.tails.window import Entry
from tests.doubles.tails import cooked

WORDS = st.sampled_from(
    [b"<134>1", b"<999>1", b"t", b"app", b"web", b"web.1", b"-", b"", b"[a]", b"\n"]
)
MESSAGES = st.lists(st.lists(WORDS, max_size=9).map(b" ".join), max_size=8)
FILTERS = st.sampled_from([None, b"app", b"web", b""])


class MatchTests(SynchronousTestCase):
    @given(messages=MESSAGES, source=FILTERS, ps=FILTERS)
    @settings(deadline=None)
    def test_what_matches_is_what_would_be_formatted(
        self, messages: list[bytes], source: bytes | None, ps: bytes | None
    ) -> None:
        lines, unparsable = tail_lines(messages, source, ps)
        self.assertEqual(
            ([line is not None for line in lines], unparsable), tail_matches(messages, source, ps)
        )


class PiecesTests(SynchronousTestCase):
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

    def test_a_live_piece_shows_what_a_waiting_one_shows(self) -> None:
        for view in (View(b"app", None, True), View(None, b"web", False)):
            messages = [cooked(b"a"), cooked(b"b", b"other", b"run.1"), b"nonsense", cooked(b"c")]
            (live,) = blocks(5, messages, 10_000)
            (waiting,) = blocks(5, messages, 10_000)
            self.assertEqual(live.shown(view)[1], view.texts(waiting.matching(view)))
            self.assertEqual((1, 1), (live.unparsable, waiting.unparsable))
