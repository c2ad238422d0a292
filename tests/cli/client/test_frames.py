# SPDX-License-Identifier: Apache-2.0

"""Lines, frames, parcels."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from logplex.cli.client.frames import Form, LineCutter
from logplex.syslog.bodies import decode_body
from logplex.syslog.message import MAX_MESSAGE_BYTES

FORM = Form(14, "host", "t.1", "send")


def cut(chunks: list[bytes], max_bytes: int) -> list[bytes]:
    """Return all lines of these chunks."""
    cutter = LineCutter(max_bytes)
    lines = [line for chunk in chunks for line in cutter.cut(chunk)]
    return lines + cutter.end()


class LineCutterTests(SynchronousTestCase):
    """Bytes are cut into lines."""

    def test_lines(self) -> None:
        self.assertEqual([b"a", b"", b"b", b"c"], cut([b"a\n\nb\r\nc"], 10))

    def test_last_line_ends(self) -> None:
        """No empty line follows the last LF."""
        self.assertEqual([b"a"], cut([b"a\n"], 10))

    def test_lines_come_as_soon_as_they_are_whole(self) -> None:
        cutter = LineCutter(10)
        self.assertEqual([b"a"], cutter.cut(b"a\nb"))
        self.assertEqual([b"bc"], cutter.cut(b"c\n"))

    def test_too_long(self) -> None:
        """A long line becomes several, and no byte is lost."""
        self.assertEqual([b"0123", b"4567", b"89"], cut([b"0123456789\n"], 4))

    def test_not_within_a_character(self) -> None:
        pieces = cut(["aaaé€😀b".encode()], 4)
        self.assertEqual("aaaé€😀b", "".join(piece.decode() for piece in pieces))

    def test_memory_is_bounded(self) -> None:
        """A line that never ends is returned in parts."""
        cutter = LineCutter(100)
        came = b"".join(line for _ in range(100) for line in cutter.cut(b"x" * 50))
        self.assertGreaterEqual(len(came), 5_000 - 101)

    @settings(deadline=None)
    @given(st.lists(st.binary(max_size=30)), st.integers(4, 20))
    def test_any_chunks(self, chunks: list[bytes], max_bytes: int) -> None:
        """The chunks do not change the lines, except where long ones are cut."""
        lines = cut(chunks, max_bytes)
        stream = b"".join(chunks)
        self.assertLessEqual(max(map(len, lines), default=0), max_bytes)
        whole = b"".join(line.removesuffix(b"\r") for line in stream.split(b"\n"))
        self.assertEqual(whole.replace(b"\r", b""), b"".join(lines).replace(b"\r", b""))
        if max_bytes > len(stream):
            self.assertEqual(cut([stream], max_bytes), lines)


class FormTests(SynchronousTestCase):
    """Lines become messages."""

    def test_frames(self) -> None:
        self.assertEqual(
            b"58 <14>1 1970-01-01T00:00:01.500000+00:00 host t.1 send - - a"
            b"57 <14>1 1970-01-01T00:00:01.500000+00:00 host t.1 send - - ",
            FORM.frames([b"a", b""], 1.5),
        )

    def test_longest_line(self) -> None:
        """The longest line makes the longest message, at any time."""
        messages, truncated, _ = decode_body(FORM.frames([b"x" * FORM.max_line_bytes], 1e9), 10)
        self.assertEqual(([MAX_MESSAGE_BYTES], 0), (list(map(len, messages)), truncated))

    @settings(deadline=None)
    @given(st.lists(st.binary(max_size=50)))
    def test_any_lines(self, lines: list[bytes]) -> None:
        """A node reads the lines back from the frames."""
        messages, _, _ = decode_body(FORM.frames(lines, 2e9), 1_000)
        self.assertEqual(lines, [message.split(b" ", 7)[7] for message in messages])
