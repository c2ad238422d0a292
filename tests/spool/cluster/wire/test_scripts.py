# SPDX-License-Identifier: Apache-2.0

"""
The arguments, answers and publications of the scripts.
"""

from __future__ import annotations

import msgpack
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from logplex.spool.cluster.wire.scripts import (
    FORGET,
    KEEP,
    Batch,
    Origin,
    Piece,
    append_arguments,
    parse_appended,
    parse_published,
)

ORIGIN = Origin(b"node 1", b"0001")
messages = st.lists(st.binary(max_size=300), min_size=1, max_size=50)


class PieceTests(SynchronousTestCase):
    @settings(deadline=None)
    @given(messages)
    def test_any_bytes_are_packed(self, texts: list[bytes]) -> None:
        piece = Piece.pack("c", KEEP, texts)
        self.assertEqual((piece.messages(), piece.count), (texts, len(texts)))

    def test_a_call_has_one_head_for_all_channels_and_a_payload_for_each(self) -> None:
        pieces = [Piece.pack("c", KEEP, [b"a"], lost=3), Piece.pack("d", FORGET, [])]
        *call, heads, one, two = append_arguments(
            ORIGIN, Batch(7, pieces, 1, 1, 9), "live:", 1_500, 60.0
        )
        self.assertEqual(call, [b"node 1", b"0001", 7, "live:", 1_500, 60, 9])
        self.assertEqual(msgpack.unpackb(heads), [["c", KEEP, "1", 3], ["d", FORGET, "0", 0]])
        self.assertEqual([one, two], [b"\x91\xa1a", b"\x90"])

    def test_less_than_a_second_is_a_second(self) -> None:
        arguments = append_arguments(ORIGIN, Batch(7, [], 0, 0), "live:", 1_500, 0.3)
        self.assertEqual(arguments[5], 1)


class AnswerTests(SynchronousTestCase):
    def test_places_count_from_zero(self) -> None:
        answer = msgpack.packb([[1, 3], [b"seq:\xff"]], use_bin_type=False)
        self.assertEqual(parse_appended(answer), ([0, 2], ["seq:\ufffd"]))
        self.assertEqual(parse_appended(msgpack.packb([[], []])), ([], []))

    @settings(deadline=None)
    @given(messages)
    def test_a_publication(self, texts: list[bytes]) -> None:
        published = parse_published(b"123 100 7 0001 node 1\n" + Piece.pack("c", 0, texts).payload)
        self.assertEqual(published.messages, texts)
        self.assertEqual((published.last, published.before, published.batch), (123, 100, 7))
        self.assertEqual(published.first, 124 - len(texts))
        self.assertEqual(published.origin, ORIGIN)

    def test_another_publication_is_an_error(self) -> None:
        good, none = Piece.pack("c", 0, [b"a"]).payload, Piece.pack("c", 0, []).payload
        for payload in (b"", b"hello", b"\x91\x01", b"\x81\x01\x02", none, good[:-1]):
            self.assertRaises(ValueError, parse_published, b"1 2 3 4 5\n" + payload)
        for head in (b"", b"x 2 3 4 5\n", b"1 2 3 4\n"):
            self.assertRaises(ValueError, parse_published, head + good)
