"""
Which message of a channel's list has which number.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from logplex.spool.cluster.wire.history import Passage, interleave, passages
from logplex.spool.cluster.wire.scripts import Fingerprint, History, Numbered, Origin, fingerprint

ORIGIN = Origin(b"node", b"1")
LIMIT = 12


def record(last: int, *messages: bytes) -> Numbered:
    mark = fingerprint(messages, sum(map(len, messages)))
    return Numbered(last, last - len(messages), Fingerprint.parse(mark), 1, ORIGIN)


def history(messages: list[bytes], *records: Numbered) -> History:
    """Both as a shard gives them: newest first."""
    return History(99, 1, messages, list(records))


def entries(found: list[Passage]) -> list[tuple[int | None, bytes]]:
    return [entry for passage in found for entry in passage.entries()]


class PassagesTests(SynchronousTestCase):
    def test_an_empty_channel(self) -> None:
        self.assertEqual(passages(history([])), [])

    def test_batches_are_found_and_turned_round(self) -> None:
        found = passages(history([b"c", b"b", b"a"], record(8, b"c"), record(7, b"a", b"b")))
        self.assertEqual(entries(found), [(6, b"a"), (7, b"b"), (8, b"c")])
        self.assertEqual([(each.batch, each.origin) for each in found], [(1, ORIGIN)] * 2)

    def test_what_others_pushed_has_no_number(self) -> None:
        kept = [b"new", b"b", b"a", b"old"]
        self.assertEqual(
            entries(passages(history(kept, record(7, b"a", b"b")))),
            [(None, b"old"), (6, b"a"), (7, b"b"), (None, b"new")],
        )

    def test_a_message_that_only_resembles_one_of_ours_has_no_number(self) -> None:
        kept = [b"b", b"other", b"b", b"a"]
        self.assertEqual(
            entries(passages(history(kept, record(7, b"a", b"b")))),
            [(6, b"a"), (7, b"b"), (None, b"other"), (None, b"b")],
        )

    def test_the_oldest_batch_may_be_cut(self) -> None:
        found = passages(history([b"d", b"c"], record(9, b"a", b"b", b"c", b"d")))
        self.assertEqual(entries(found), [(8, b"c"), (9, b"d")])

    def test_a_cut_batch_whose_newest_message_came_twice_has_no_number(self) -> None:
        found = passages(history([b"d", b"d", b"c"], record(9, b"a", b"b", b"c", b"d")))
        self.assertEqual(entries(found), [(None, b"c"), (None, b"d"), (None, b"d")])

    def test_a_record_whose_messages_are_gone_is_skipped(self) -> None:
        found = passages(history([b"b", b"a"], record(9, b"gone"), record(4, b"a", b"b")))
        self.assertEqual(entries(found), [(3, b"a"), (4, b"b")])

    @settings(deadline=None)
    @given(
        st.lists(
            st.tuples(st.sampled_from(["ours", "theirs", "cut", "delete"]), st.integers(1, 8)),
            max_size=25,
        )
    )
    def test_a_number_is_right_or_missing_whatever_others_do(
        self, steps: list[tuple[str, int]]
    ) -> None:
        kept: list[tuple[int | None, bytes]] = []  # newest first
        records: list[Numbered] = []
        written, last = 0, 1_000
        for step, size in steps:
            messages = [b"m%d" % (written + n) for n in range(size)]
            written += size
            if step == "ours":
                kept[:0] = [(last + n + 1, messages[n]) for n in reversed(range(size))]
                last += size
                records.insert(0, record(last, *messages))
                kept = kept[:LIMIT]
            elif step == "theirs":
                kept[:0] = [(None, message) for message in reversed(messages)]
            elif step == "cut":
                kept = kept[:size]
            else:
                kept = []
        found = entries(passages(history([message for _, message in kept], *records)))
        self.assertEqual(found, kept[::-1])


class InterleaveTests(SynchronousTestCase):
    def test_shards_are_put_in_the_order_of_their_numbers(self) -> None:
        old = [Passage(1, [b"a"]), Passage(None, [b"x"]), Passage(5, [b"c"])]
        new = [Passage(3, [b"b"]), Passage(9, [b"d"])]
        self.assertEqual(
            [message for _, message in entries(interleave([new, old]))],
            [b"a", b"x", b"b", b"c", b"d"],
        )
