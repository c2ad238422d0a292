"""RFC 5424 messages: where the text begins."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from logplex.syslog.message import MAX_MESSAGE_BYTES, VALID_HEADS, cut_message, skip_structured_data


class HeadTests(SynchronousTestCase):
    """PRI is 0 to 191, written as a number is written."""

    def test_valid(self) -> None:
        for head in (b"<0>1", b"<13>1", b"<191>1"):
            self.assertIn(head, VALID_HEADS)

    def test_not_valid(self) -> None:
        for head in (b"<192>1", b"<013>1", b"<-1>1", b"<>1", b"<x>1", b"<13>2", b"<13>", b"13"):
            self.assertNotIn(head, VALID_HEADS)


class CutTests(SynchronousTestCase):
    """A message that is too long loses its end, and its reader sees that."""

    def test_whole_characters(self) -> None:
        for character in ("é", "€", "😀", "a"):
            for shift in range(5):
                text = "<13>1 " + "x" * shift + character * 11_000
                message = cut_message(text.encode()[:MAX_MESSAGE_BYTES])
                self.assertLessEqual(len(message), MAX_MESSAGE_BYTES)
                self.assertGreater(len(message), MAX_MESSAGE_BYTES - 4)
                kept = message.decode()
                self.assertEqual(kept, text[: len(kept) - 1] + "…")

    def test_not_utf_8(self) -> None:
        for byte in (b"\xff", b"\x80", b"\xe9"):
            message = cut_message(byte * MAX_MESSAGE_BYTES)
            self.assertLessEqual(len(message), MAX_MESSAGE_BYTES)
            self.assertGreater(len(message), MAX_MESSAGE_BYTES - 7)


class StructuredDataTests(SynchronousTestCase):
    """What stands between MSGID and the text."""

    def test_skipped(self) -> None:
        for data in (
            b"-",
            b"[]",
            b'[timeQuality tzKnown="1" isSynced="0"]',
            b'[a@1 k="v"][b@1 k="v"]',
            rb'[a@1 k="a \] b"]',
            rb'[a@1 k="\\"]',
            rb'[a@1 k="\" \\\] "][b@1]',
            b'[a@1 k="two\nlines \xff"]',
        ):
            self.assertEqual(skip_structured_data(data + b" some [text]"), b"some [text]", data)
            self.assertEqual(skip_structured_data(data + b" "), b"", data)
            self.assertEqual(skip_structured_data(data), b"", data)

    def test_missing(self) -> None:
        """Then the text begins at once, also where it begins with a bracket."""
        for text in (
            b"text",
            b"--",
            b"-text",
            b"[never closed",
            rb"[closed by nothing\]",
            b"[tag]text",
            b'[a@1 k="v"][never closed text',
            b"",
            b" text",
        ):
            self.assertEqual(skip_structured_data(text), text)

    @settings(deadline=None)
    @given(st.lists(st.binary(max_size=20), min_size=1, max_size=5), st.binary(max_size=20))
    def test_round_trip(self, values: list[bytes], text: bytes) -> None:
        escaped = (re.sub(rb'([\\\]"])', rb"\\\1", value) for value in values)
        data = b"".join(b'[a@1 k="%b"]' % value for value in escaped)
        self.assertEqual(skip_structured_data(data + b" " + text), text)

    def test_linear(self) -> None:
        """Text that almost is structured data takes no longer than other text."""
        for almost in (b"[a]" * 3_000 + b"x", b"[" + b"\\" * 10_001, b"[" + b"a" * 10_000):
            self.assertEqual(skip_structured_data(almost), almost)
