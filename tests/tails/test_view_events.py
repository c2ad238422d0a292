# SPDX-License-Identifier: Apache-2.0

"""No text of a line can end its field or its event."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from logplex.tails.view import comment, event, event_id, events

HOSTILE = st.lists(
    st.sampled_from(
        [b"\r", b"\n", b"\r\n", b"\0", b"id: 9", b"data: x", b"event: y", b"retry: 1", b":", b" ",
         b"\xff\xfe", "\u2028é".encode(), b"text", b"\n\n", b"\r\r", b"\x0b", b"\x85"]
    )
).map(b"".join)  # fmt: skip


def understood(stream: bytes) -> list[tuple[bytes | None, bytes]]:
    """The events of a stream, as the HTML standard says that clients read it (section 9.2.6)."""
    found: list[tuple[bytes | None, bytes]] = []
    data: list[bytes] = []
    last_id: bytes | None = None
    lines = stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    for line in lines[:-1]:
        if not line:
            if data:
                found.append((last_id, b"\n".join(data)))
            data, last_id = [], None
        elif not line.startswith(b":"):
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"data":
                data.append(value)
            elif name == b"id" and b"\0" not in value:
                last_id = value
            else:
                raise AssertionError(f"a forged field: {line!r}")
    return found


def unified(line: bytes) -> bytes:
    """A line without its LF, every line break in it being LF."""
    text = line[:-1].decode(errors="replace").encode()
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


class FramingTests(SynchronousTestCase):
    def test_a_line_is_an_event_with_id_and_data(self) -> None:
        self.assertEqual([b"id: 7\ndata: hello\n\n"], events([7], [b"hello\n"]))

    def test_without_number_without_id(self) -> None:
        self.assertEqual([b"data: hello\n\n"], events([None], [b"hello\n"]))
        self.assertEqual(b"data: hello\n\n", event(None, b"hello\n"))

    def test_every_line_break_begins_a_data_field(self) -> None:
        self.assertEqual(
            [b"id: 7\ndata: a\ndata: b\ndata: c\ndata: \ndata: d\n\n"],
            events([7], [b"a\nb\rc\r\n\nd\n"]),
        )

    def test_an_empty_line_in_a_message_ends_no_event(self) -> None:
        self.assertEqual([b"id: 7\ndata: a\ndata: \ndata: b\n\n"], events([7], [b"a\n\nb\n"]))

    def test_a_message_forges_no_id(self) -> None:
        self.assertEqual(
            [b"id: 7\ndata: a\ndata: id: 9\n\n", b"id: 8\ndata: id: 10\n\n"],
            events([7, 8], [b"a\rid: 9\n", b"id: 10\n"]),
        )

    def test_bytes_that_are_not_utf_8_are_replaced(self) -> None:
        for text, shown in (
            (b"caf\xe9 \0", "caf\ufffd \0"),
            (b"\xc3\xa9", "\xe9"),
            (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),
            (b"\xf0\x9f\x98", "\ufffd"),
        ):
            event_of_it = b"id: 7\ndata: %b\n\n" % shown.encode()
            self.assertEqual([event_of_it], events([7], [text + b"\n"]))
            self.assertEqual(event_of_it, event(7, text + b"\n"))

    @given(texts=st.lists(HOSTILE), numbered=st.booleans())
    @settings(deadline=None)
    def test_a_client_understands_what_was_meant(self, texts: list[bytes], numbered: bool) -> None:
        lines = [b"line " + text + b"\n" for text in texts]
        numbers: list[int | None] = [n if numbered else None for n in range(1, len(lines) + 1)]
        encoded = events(numbers, lines)
        self.assertEqual([event(n, line) for n, line in zip(numbers, lines, strict=True)], encoded)
        ids = [b"%d" % n if n else None for n in numbers]
        self.assertEqual(
            list(zip(ids, map(unified, lines), strict=True)), understood(b"".join(encoded))
        )

    def test_comments(self) -> None:
        self.assertEqual(b":\n\n", comment(b""))
        self.assertEqual(b": 3 messages are gone\n\n", comment(b"3 messages are gone"))
        self.assertEqual([], understood(comment(b"") + comment(b"x")))


class EventIdTests(SynchronousTestCase):
    def test_a_number(self) -> None:
        self.assertEqual(1_700_000_000_000_000, event_id(b"1700000000000000"))

    def test_nothing_and_nonsense(self) -> None:
        for text in (None, b"", b"x", b"-1", b"1.5", b" 1", b"9" * 19, b"9" * 5_000):
            self.assertIsNone(event_id(text))
