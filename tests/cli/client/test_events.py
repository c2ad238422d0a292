# SPDX-License-Identifier: Apache-2.0

"""Server-Sent Events."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from logplex.cli.client.events import Comment, Event, EventDecoder, LastEventId, TooLong


def decode(*chunks: bytes) -> list[Event | Comment | LastEventId]:
    """Return everything that is decoded from these chunks."""
    decoder = EventDecoder()
    return [each for chunk in chunks for each in decoder.decode(chunk)]


class DecoderTests(SynchronousTestCase):
    """The decoder, on cases of the standard."""

    def test_event(self) -> None:
        self.assertEqual([Event(b"text", b"7")], decode(b"id: 7\ndata: text\n\n"))

    def test_without_id(self) -> None:
        """An id belongs to one event, not to the next ones."""
        self.assertEqual([Event(b"a", b"7"), Event(b"b")], decode(b"id: 7\ndata: a\n\ndata: b\n\n"))

    def test_several_lines(self) -> None:
        self.assertEqual([Event(b"a\n\nb")], decode(b"data: a\ndata\ndata: b\n\n"))

    def test_one_space_only(self) -> None:
        self.assertEqual([Event(b" a"), Event(b"a")], decode(b"data:  a\n\ndata:a\n\n"))

    def test_comment(self) -> None:
        self.assertEqual([Comment(b""), Comment(b"gone")], decode(b":\n\n: gone\n\n"))

    def test_a_position(self) -> None:
        self.assertEqual(
            [Event(b"a", b"7"), Comment(b""), LastEventId(b"9")],
            decode(b"id: 7\ndata: a\n\nid: 9\n:\n\n"),
        )

    def test_nothing_to_tell(self) -> None:
        """A block without data is not an event, and unknown fields are ignored."""
        self.assertEqual([], decode(b"\n\nevent: x\nretry: 3\nother\n\n"))

    def test_ends_of_lines(self) -> None:
        for end in (b"\n", b"\r\n", b"\r"):
            self.assertEqual([Event(b"a\nb")], decode(end.join([b"data: a", b"data: b", b"", b""])))

    def test_byte_order_mark(self) -> None:
        self.assertEqual([Event(b"a")], decode(b"\xef", b"\xbb\xbfdata: a\n\n"))

    def test_unfinished(self) -> None:
        """An event without its end is not returned."""
        self.assertEqual([], decode(b"id: 7\ndata: cut off"))

    def test_too_long(self) -> None:
        """The bound holds for one line and for many, with an end and without."""
        for stream in (
            b"data: " + b"x" * 20,
            b"data: " + b"x" * 20 + b"\n\n",
            b"data: xxxxx\n" * 4,
        ):
            with self.assertRaises(TooLong):
                EventDecoder(max_bytes=16).decode(stream)

    @settings(deadline=None)
    @given(st.binary(max_size=60) | st.text("\n\r: daitx\ufeff").map(str.encode), st.data())
    def test_any_chunks(self, stream: bytes, data: st.DataObject) -> None:
        """The chunks of a stream do not change its events."""
        places = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
        edges = [0, *places, len(stream)]
        chunks = [stream[a:b] for a, b in pairwise(edges)]
        self.assertEqual(decode(stream), decode(*chunks))
