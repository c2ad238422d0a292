# SPDX-License-Identifier: Apache-2.0

"""
The messages that wait to be written to one shard.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from logplex.metrics import Counters
from logplex.spool.cluster.shard.outbox import Outbox, OutboxBounds
from logplex.spool.cluster.wire.scripts import FORGET, KEEP, RAISE


def contents(outbox: Outbox) -> list[list[tuple[str, int, list[bytes]]]]:
    """Take everything out, batch by batch: each piece's channel, flags and messages."""
    taken = []
    while (batch := outbox.head) is not None:
        taken.append([(each.channel_id, each.flags, each.messages()) for each in batch.pieces])
        outbox.done()
    return taken


class OutboxTests(SynchronousTestCase):
    def outbox(self, **bounds: int) -> Outbox:
        self.counters = Counters()
        return Outbox(OutboxBounds(**bounds), self.counters)

    def test_a_channels_messages_become_one_piece(self) -> None:
        outbox = self.outbox()
        outbox.append("a", [b"1"], True)
        outbox.append("b", [b"2"], True)
        outbox.append("a", [b"3"], True)
        self.assertIsNone(outbox.head)
        outbox.seal()
        self.assertEqual(contents(outbox), [[("a", KEEP, [b"1", b"3"]), ("b", KEEP, [b"2"])]])

    def test_batches_are_numbered_without_gaps(self) -> None:
        outbox = self.outbox()
        numbers = []
        for _ in range(3):
            outbox.append("a", [b"1"], True)
            outbox.seal()
            assert outbox.head is not None
            numbers.append(outbox.head.number)
            outbox.done()
        self.assertEqual(numbers, [1, 2, 3])

    def test_one_channel_can_be_sealed_before_the_others(self) -> None:
        outbox = self.outbox()
        outbox.append("a", [b"1"], True)
        outbox.append("b", [b"2"], True)
        outbox.seal(["b"])
        self.assertEqual(contents(outbox), [[("b", KEEP, [b"2"])]])
        self.assertEqual(list(outbox.collected), ["a"])

    def test_a_batch_holds_so_many_channels(self) -> None:
        outbox = self.outbox(batch_channels=2)
        for name in "abc":
            outbox.append(name, [b"1"], True)
        outbox.seal()
        self.assertEqual([len(batch) for batch in contents(outbox)], [2, 1])

    def test_a_batch_that_is_heavy_takes_no_further_channel(self) -> None:
        outbox = self.outbox(batch_bytes=10)
        outbox.append("a", [b"x" * 9], True)
        outbox.append("b", [b"x"], True)
        outbox.append("c", [b"x"], True)
        outbox.seal()
        self.assertEqual([len(batch) for batch in contents(outbox)], [2, 1])

    def test_a_long_list_becomes_several_batches(self) -> None:
        outbox = self.outbox()
        texts = [b"%d" % number for number in range(900)]
        outbox.forget("a")
        outbox.append("a", texts, True)
        outbox.append("b", [b"b"], True)
        outbox.seal()
        batches = contents(outbox)
        self.assertEqual(
            [[(name, flags, len(part)) for name, flags, part in batch] for batch in batches],
            [
                [("a", KEEP | FORGET, 400)],
                [("a", KEEP, 400)],
                [("a", KEEP, 100), ("b", KEEP, 1)],
            ],
        )
        self.assertEqual([text for batch in batches for text in batch[0][2]], texts)
        self.assertEqual((outbox.waiting_messages, outbox.waiting_bytes), (0, 0))

    def test_so_does_a_heavy_one(self) -> None:
        outbox = self.outbox()
        texts = [b"x" * 40_000, b"y" * 40_000, b"z" * 40_000, b"large" * 30_000, b"small"]
        outbox.append("a", texts, True)
        outbox.seal()
        pieces = [batch[0][2] for batch in contents(outbox)]
        self.assertEqual(pieces, [texts[:2], texts[2:3], texts[3:4], texts[4:]])

    def test_what_is_not_kept_is_apart_from_what_is(self) -> None:
        outbox = self.outbox()
        outbox.append("a", [b"1"], True)
        outbox.append("a", [b"2"], False)
        outbox.append("a", [b"3"], True)
        outbox.seal()
        self.assertEqual(
            contents(outbox), [[("a", KEEP, [b"1"])], [("a", 0, [b"2"])], [("a", KEEP, [b"3"])]]
        )

    def test_forgetting_comes_after_what_is_sealed_and_before_what_follows(self) -> None:
        outbox = self.outbox()
        outbox.append("a", [b"1"], True)
        outbox.seal()
        outbox.append("a", [b"2"], True)
        outbox.forget("a")
        outbox.append("a", [b"3"], True)
        outbox.seal()
        self.assertEqual(contents(outbox), [[("a", KEEP, [b"1"])], [("a", KEEP | FORGET, [b"3"])]])
        self.assertEqual(self.counters.spool_dropped, 1)

    def test_a_raised_sequence_is_raised_once(self) -> None:
        outbox = self.outbox()
        outbox.raised_above = 77
        outbox.raise_sequence("a")
        for _ in range(2):
            outbox.append("a", [b"1"], True)
            outbox.seal()
        assert outbox.head is not None
        self.assertEqual(outbox.head.raised, 77)
        self.assertEqual([batch[0][1] for batch in contents(outbox)], [KEEP | RAISE, KEEP])

    def test_above_the_bound_on_bytes_the_newest_is_dropped(self) -> None:
        outbox = self.outbox(waiting_bytes=200)
        outbox.append("a", [b"x" * 100], True)
        outbox.append("a", [b"y" * 100], True)
        outbox.append("a", [b"z"], True)
        outbox.seal()
        self.assertEqual(contents(outbox), [[("a", KEEP, [b"x" * 100, b"z"])]])
        self.assertEqual(self.counters.spool_dropped, 1)

    def test_above_the_bound_on_batches_the_newest_is_dropped(self) -> None:
        outbox = self.outbox(waiting_batches=2, batch_bytes=1)
        for text in (b"1", b"2", b"3", b"4"):
            outbox.append("a", [text], True)
        outbox.seal()
        self.assertEqual(outbox.waiting_batches, 2)
        outbox.done()
        outbox.seal()
        self.assertEqual([batch[0][2] for batch in contents(outbox)], [[b"2"], [b"3"]])
        self.assertEqual(self.counters.spool_dropped, 1)

    def lost(self, outbox: Outbox) -> list[int]:
        """Return the number of messages dropped before each piece of the first batch."""
        assert outbox.head is not None
        return [each.lost for each in outbox.head.pieces]

    def test_the_next_piece_says_how_many_were_dropped(self) -> None:
        outbox = self.outbox(waiting_bytes=200)
        outbox.append("a", [b"x" * 100], True)
        outbox.append("a", [b"y" * 100] * 2, True)
        outbox.append("b", [b"y" * 100], True)
        outbox.append("a", [b"z"], True)
        outbox.seal()
        self.assertEqual(self.lost(outbox), [2])
        outbox.done()
        for name in ("a", "b"):
            outbox.append(name, [b"z"], True)
        outbox.seal()
        self.assertEqual(self.lost(outbox), [0, 1])

    def test_so_it_does_of_a_batch_that_the_shard_never_takes(self) -> None:
        outbox = self.outbox()
        outbox.append("a", [b"1", b"2"], True)
        outbox.seal()
        outbox.drop()
        outbox.append("a", [b"3"], True)
        outbox.seal()
        self.assertEqual(self.lost(outbox), [2])

    def test_not_of_a_channel_that_was_deleted_since(self) -> None:
        outbox = self.outbox(waiting_bytes=1)
        outbox.append("a", [b"dropped"], True)
        outbox.forget("a")
        outbox.seal()
        self.assertEqual(self.lost(outbox), [0])

    def test_what_was_perhaps_not_heard(self) -> None:
        outbox = self.outbox(batch_channels=2)
        for name, text in (("a", b"1"), ("b", b"2"), ("a", b"3"), ("c", b"4")):
            outbox.append(name, [text], True)
        outbox.seal()
        outbox.append("a", [b"5"], True)
        outbox.seal()
        self.assertEqual([outbox.last_batch_of(name) for name in "abcd"], [3, 1, 2, 0])
        self.assertEqual(outbox.unheard({"a", "d"}), {"a": [(1, [b"1", b"3"]), (3, [b"5"])]})
        outbox.done(followed={"a", "b", "c"})
        outbox.done(followed={"c"})
        outbox.heard(1, "a")
        every = {"a", "b", "c"}
        self.assertEqual(
            outbox.unheard(every),
            {"b": [(1, [b"2"])], "c": [(2, [b"4"])], "a": [(3, [b"5"])]},
        )
        outbox.heard(2, "x")
        self.assertEqual(outbox.unheard(every), {"c": [(2, [b"4"])], "a": [(3, [b"5"])]})
        outbox.heard(2, "c")
        outbox.done()
        self.assertEqual(outbox.unheard(every), {})

    def test_what_was_not_heard_is_bounded(self) -> None:
        outbox = self.outbox()
        for number in range(60):
            outbox.append("a", [b"%06d" % number + b"x" * 100_000], True)
            outbox.seal()
            outbox.done(followed={"a"})
        unheard = outbox.unheard({"a"})["a"]
        self.assertEqual([number for number, _ in unheard], list(range(20, 61)))

    @settings(deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["append", "keepless", "forget", "seal", "done", "drop"]),
                st.sampled_from("abc"),
                st.integers(1, 5),
            ),
            max_size=60,
        )
    )
    def test_every_message_is_counted_once(self, steps: list[tuple[str, str, int]]) -> None:
        outbox = self.outbox(waiting_batches=3, batch_bytes=20, waiting_bytes=900)
        appended = 0
        for step, name, size in steps:
            if step in ("append", "keepless"):
                outbox.append(name, [b"12345"] * size, step == "append")
                appended += size
            elif step == "forget":
                outbox.forget(name)
            elif step == "seal":
                outbox.seal()
            elif outbox.head is not None:
                outbox.done() if step == "done" else outbox.drop()
            self.assertEqual(
                appended,
                self.counters.spool_written + self.counters.spool_dropped + outbox.waiting_messages,
            )
        outbox.drop_all()
        self.assertEqual((outbox.waiting_messages, outbox.waiting_bytes), (0, 0))
        self.assertEqual(appended, self.counters.spool_written + self.counters.spool_dropped)
