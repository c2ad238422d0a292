# SPDX-License-Identifier: Apache-2.0

"""
The history in the answer to a reading.
"""

from __future__ import annotations

import msgpack
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from logplex.spool.cluster.wire.history import (
    History,
    StreamEntry,
    interleave,
    parse_history,
    reading,
)
from logplex.spool.cluster.wire.scripts import Origin

ORIGIN = Origin(b"node 1", b"0001")


def shown(last: int, *messages: bytes, before: int, **more: bytes) -> list[object]:
    """An entry as Redis gives it."""
    fields = {
        b"n": b"%d" % len(messages),
        b"m": msgpack.packb(messages, use_bin_type=False),
        b"b": b"%d" % before,
        b"o": b"7 0001 node 1",
        **{name.encode(): value for name, value in more.items()},
    }
    return [b"%d-0" % last, [each for pair in fields.items() for each in pair]]


class ReadingTests(SynchronousTestCase):
    def test_one_step(self) -> None:
        commands = reading("c", ORIGIN, after=0)
        self.assertEqual((commands[0], commands[-1]), (["MULTI"], ["EXEC"]))
        self.assertEqual(
            commands[1:3], [["GET", "seq:c"], ["HGET", b"logplex:batches:node 1", b"0001"]]
        )

    def test_all_or_what_comes_after_a_number_or_none(self) -> None:
        starts = {after: reading("c", ORIGIN, after)[3][2] for after in (0, 12, None)}
        self.assertEqual(starts, {0: b"-", 12: b"(12", None: b"+"})


class HistoryTests(SynchronousTestCase):
    def test_a_channel_without_messages(self) -> None:
        self.assertEqual(parse_history([None, None, []]), History(0, 0, []))

    def test_entries_are_numbered_by_their_ids(self) -> None:
        found = [shown(12, b"a", b"b", before=5), shown(13, b"c", before=12)]
        history = parse_history([b"13 13 0 1 2", b"7", found])
        self.assertEqual((history.last, history.own_batch, history.count), (13, 7, 3))
        self.assertEqual(
            history.entries,
            [
                StreamEntry(11, [b"a", b"b"], before=5, batch=7, origin=ORIGIN),
                StreamEntry(13, [b"c"], before=12, batch=7, origin=ORIGIN),
            ],
        )
        self.assertEqual(list(history.entries[0].numbered()), [(11, b"a"), (12, b"b")])

    def test_what_is_not_kept_before_an_entry_moves_the_number_before_it(self) -> None:
        (entry,) = parse_history([b"9", None, [shown(9, b"a", before=5, g=b"3")]]).entries
        self.assertEqual((entry.before, entry.gone), (8, 3))

    def test_what_is_not_ours_counts_as_absent(self) -> None:
        wrong = ValueError("WRONGTYPE")
        self.assertEqual(parse_history([wrong, wrong, wrong]), History(0, 0, []))
        for high in (b"9000000000000001", b"18446744073709551614 1 0 0 0", b"9" * 5_000):
            self.assertEqual(parse_history([high, high, []]), History(0, 0, []))
        good = shown(9, b"a", before=5)
        bad = [
            [b"8-0", [b"x", b"y"]],
            [b"8-0", [b"m", b"\xc1", b"b", b"1", b"o", b"1 2 3"]],
            shown(8, b"a", before=5, o=b"nobody"),
            shown(8, b"a", before=5, m=b"\x91\x01"),
            shown(8, b"a", before=5, g=b"many"),
        ]
        history = parse_history([b"many", b"", [*bad, good]])
        self.assertEqual((history.last, history.own_batch), (0, 0))
        self.assertEqual([each.first for each in history.entries], [9])

    @settings(deadline=None)
    @given(st.binary(), st.binary(), st.lists(st.binary(max_size=20)))
    def test_no_entry_stops_a_reading(
        self, entry_id: bytes, text: bytes, fields: list[bytes]
    ) -> None:
        for name in (b"m", b"b", b"o", b"g"):
            parse_history([text, text, [[entry_id, [name, text, *fields]]]])


class InterleaveTests(SynchronousTestCase):
    def test_shards_are_put_in_the_order_of_their_numbers(self) -> None:
        old = [StreamEntry(1, [b"a"], 0), StreamEntry(5, [b"c"], 1)]
        new = [StreamEntry(3, [b"b"], 0), StreamEntry(9, [b"d"], 3)]
        merged = interleave([new, old])
        self.assertEqual([each.messages for each in merged], [[b"a"], [b"b"], [b"c"], [b"d"]])
