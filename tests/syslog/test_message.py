# SPDX-License-Identifier: Apache-2.0

"""RFC 5424 messages: heads, structured data, and the beginning of the text."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from logplex.syslog.message import MAX_MESSAGE_BYTES, VALID_HEADS, cut_message, text_of


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
    """The structured data between MSGID and the text."""

    def test_skipped(self) -> None:
        for data in (
            b"-",
            b"[timeQuality][origin][meta]",
            b"[x@1]",
            b'[timeQuality tzKnown="1" isSynced="0"]',
            b'[a@1 k="v"][b@1 k="v"]',
            rb'[a@1 k="a \] b"]',
            rb'[a@1 k="\\"]',
            rb'[a@1 k="\" \\\] "][b@1]',
            b'[a@1 k="two\nlines \xff"]',
        ):
            self.assertEqual(text_of(data + b" some [text]"), b"some [text]", data)

    def test_alone(self) -> None:
        """Structured data without a text is shown as the text: some devices write nothing else."""
        for data in (
            b'[junos@2636.1.1.1.2.129 source-address="192.0.2.7" reason="TCP FIN"]',
            b'[timeQuality tzKnown="1"][x@1 k=""]',
        ):
            for message in (data, data + b" ", data + b" \n"):
                self.assertEqual(text_of(message), data)
        for message in (b"-", b"- "):
            self.assertEqual(text_of(message), b"")

    def test_brackets_in_a_text(self) -> None:
        """Brackets that programs write are text, and structured data only in RFC 5424's grammar."""
        for text in (
            b"[Tue Jun 08 11:54:08.929301 2021] [php7:emerg] [pid 12] PHP Fatal error",
            b"[2026-01-02 08:32:39 +0000] [8647] [INFO] Listening at: http://0.0.0.0:8000",
            b'[02/Jan/2026:03:04:05 +0000] "GET / HTTP/1.1" 200 612',
            b"[    1.234567] usb 1-1: new device",
            b"[error] connect() failed",
            b"[INFO] order 7 paid",
            b"[1]: done",
            b"[] empty",
            b"[] ",
            b"[error][warn] two",
            b"[a=b] c",
            b"[a k=v] c",
            b"[a k='v'] c",
            b'[a k="v"x] c',
            b'[a k="v" ] c',
            b'[a k="not ] escaped"] c',
            b'[action:"Accept"; flags:"411908"]',
            b'[{"json": [1, 2]}] c',
        ):
            self.assertEqual(text_of(text), text)

    def test_missing(self) -> None:
        """Without structured data the text begins at once, also if it begins with a bracket."""
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
            self.assertEqual(text_of(text), text)

    @settings(deadline=None)
    @given(st.lists(st.binary(max_size=20), min_size=1, max_size=5), st.binary(max_size=20))
    def test_round_trip(self, values: list[bytes], text: bytes) -> None:
        escaped = (re.sub(rb'([\\\]"])', rb"\\\1", value) for value in values)
        data = b"".join(b'[a@1 k="%b"]' % value for value in escaped)
        self.assertEqual(text_of(data + b" " + text), text if text.strip() else data)

    def test_linear(self) -> None:
        """Text that almost is structured data takes no longer than other text."""
        for almost in (
            b"[a@]" * 3_000 + b"x",
            b"[" + b"\\" * 10_001,
            b"[" + b"a" * 10_000,
            b"[a " + b'k="v" ' * 2_000 + b"x",
            b'[a k="' + b'\\"' * 5_000,
            b"[a" + b" " * 10_000 + b"x",
        ):
            self.assertEqual(text_of(almost), almost)
