"""
What is said to a shard and what it says.
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
    Fingerprint,
    Numbered,
    Origin,
    Piece,
    append_arguments,
    fingerprint,
    parse_appended,
    parse_history,
    parse_published,
)

ORIGIN = Origin(b"node 1", b"0001")
messages = st.lists(st.binary(max_size=300), min_size=1, max_size=50)


class PieceTests(SynchronousTestCase):
    @settings(deadline=None)
    @given(messages)
    def test_any_bytes_are_packed(self, texts: list[bytes]) -> None:
        piece = Piece.pack("c", KEEP, texts, sum(map(len, texts)), 1_500)
        self.assertEqual((piece.messages(), piece.count), (texts, len(texts)))
        mark = Fingerprint.parse(msgpack.unpackb(piece.payload, raw=True)[2])
        self.assertEqual((mark.count, mark.size_bytes), (len(texts), sum(map(len, texts))))

    def test_the_fingerprint_is_of_what_is_kept(self) -> None:
        piece = Piece.pack("c", KEEP, [b"a", b"bb", b"ccc"], 6, 2)
        mark = msgpack.unpackb(piece.payload, raw=True)[2]
        self.assertEqual(mark, fingerprint([b"bb", b"ccc"], 5))

    def test_what_is_not_kept_has_none(self) -> None:
        for flags, texts in ((0, [b"a"]), (FORGET, [])):
            payload = Piece.pack("c", flags, texts, len(texts), 1_500).payload
            self.assertEqual(msgpack.unpackb(payload, raw=True), [b"c", flags, b"", texts, 0])

    def test_a_call_is_flat(self) -> None:
        piece = Piece.pack("c", 0, [b"a"], 1, 1_500)
        self.assertEqual(
            append_arguments(ORIGIN, Batch(7, [piece], 1, 1, 9), "live:", 1_500, 60.0),
            [b"node 1", b"0001", 7, "live:", 1_500, 60, 9, piece.payload],
        )

    def test_less_than_a_second_is_a_second(self) -> None:
        arguments = append_arguments(ORIGIN, Batch(7, [], 0, 0), "live:", 1_500, 0.3)
        self.assertEqual(arguments[5], 1)


class AnswerTests(SynchronousTestCase):
    def test_places_count_from_zero(self) -> None:
        self.assertEqual(parse_appended(msgpack.packb([[1, 3], [2]])), ([0, 2], [1]))
        self.assertEqual(parse_appended(msgpack.packb([[], []])), ([], []))

    @settings(deadline=None)
    @given(messages)
    def test_a_publication(self, texts: list[bytes]) -> None:
        published = parse_published(
            b"123 100 7 0001 node 1\n" + Piece.pack("c", 0, texts, 0, 9).payload
        )
        self.assertEqual(published.messages, texts)
        self.assertEqual((published.first, published.before, published.batch), (123, 100, 7))
        self.assertEqual(published.last, 122 + len(texts))
        self.assertEqual(published.origin, ORIGIN)

    def test_another_publication_is_an_error(self) -> None:
        good = Piece.pack("c", 0, [b"a"], 1, 9).payload
        none = Piece.pack("c", 0, [], 0, 9).payload
        for payload in (b"", b"hello", b"\x90", b"\x95\x01\x02\x03\x04\x05", none, good[:-1]):
            self.assertRaises(ValueError, parse_published, b"1 2 3 4 5\n" + payload)
        for head in (b"", b"x 2 3 4 5\n", b"1 2 3 4\n"):
            self.assertRaises(ValueError, parse_published, head + good)

    def test_a_history(self) -> None:
        mark = fingerprint([b"a", b"b"], 2)
        answer = msgpack.packb(
            [b"12", b"7", [b"b", b"a"], [b"12 5 %b 7 0001 node 1" % mark]],
            use_bin_type=False,
        )
        history = parse_history(answer)
        self.assertEqual((history.last, history.own_batch), (12, 7))
        self.assertEqual(history.messages, [b"b", b"a"])
        self.assertEqual(history.records, [Numbered(12, 5, Fingerprint.parse(mark), 7, ORIGIN)])

    def test_what_others_put_into_our_keys_counts_as_absent(self) -> None:
        answer = msgpack.packb(
            [b"many", b"", [b"a"], [b"", b"1 2 3", b"12 5 0:0:0:0 7 0001 node"]], use_bin_type=False
        )
        history = parse_history(answer)
        self.assertEqual((history.last, history.own_batch, history.records), (0, 0, []))
