# SPDX-License-Identifier: Apache-2.0

"""Framing: exact, whatever the chunks are, and bounded, whatever the bytes are."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from logplex.syslog.bodies import FramingError, TooManyMessages, decode_body
from logplex.syslog.cutting import FrameHeads, cut_frames, cut_lines
from logplex.syslog.framing import MAX_FRAME_BYTES, MAX_HELD_BYTES, FrameDecoder
from logplex.syslog.message import MAX_MESSAGE_BYTES, cut_message
from tests import samples

MANY = 1_000_000

Decoded = tuple[list[bytes], int, int]
BOM = b"\xef\xbb\xbf"


def encode(message: bytes) -> bytes:
    return b"%d %b" % (len(message), message)


def decode(*chunks: bytes, end: bool = True) -> Decoded:
    """Return the messages of a connection, and the numbers of malformed and truncated ones."""
    decoder = FrameDecoder()
    messages = [message for chunk in chunks for message in decoder.feed(chunk)]
    if end:
        messages += decoder.finish()
    return messages, decoder.malformed, decoder.truncated


heads = st.sampled_from([b"<13>1 ", b"<191>1 ", b"<0>1 ", b"<192>1 ", b"<013>1 ", b"<1>2 ", b"<"])
lengths = st.sampled_from(
    [b"0 ", b"1 ", b"10240 ", b"10241 ", b"10300 <13>", b"1048576 <", b"1048577 <1>1 ", b"9" * 20]
)
hostile = st.lists(
    st.one_of(
        st.binary(max_size=300).map(lambda text: encode(b"<13>1 " + text)),
        st.binary(max_size=30).map(lambda text: encode(BOM + b"<13>1 " + text)),
        st.builds(lambda head, text: head + text + b"\n", heads, st.binary(max_size=40)),
        st.builds(lambda head, size: head + b"a" * size, heads, st.integers(10_225, 10_260)),
        st.builds(lambda head, size: encode(head.ljust(size, b"a")), heads, st.integers(1, 11_000)),
        st.sampled_from([b"\n", b"\r\n", b"\r", b"\0", b" ", b"12x", b"7", b"garbage", BOM]),
        st.sampled_from(
            [b"<13>1 a", b"<13>1 a\0", b"<13>1 a\n", b"x 8 <13>1 ab", b"\xef", b"\xbb"]
        ),
        lengths,
        heads,
        st.builds(
            lambda digits, text: b"x%d" % digits + encode(b"<13>1 " + text),
            st.integers(0, 20_000),
            st.binary(max_size=150),
        ),
        st.binary(max_size=20),
    ),
    max_size=12,
).map(b"".join)


def chunked(stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


class StreamTests(SynchronousTestCase):
    """The frames do not depend on the chunks, and are those of the contract."""

    @settings(deadline=None, max_examples=300)
    @given(hostile, st.lists(st.integers(0, 100_000), max_size=12))
    @example(b"<13>1 " + b"a" * 10_234 + b"\r\n", [10_240, 10_241])
    @example(b"<13>1 " + b"a" * 10_234 + b"\r", [10_240])
    @example(b"<13>1 ".ljust(10_236, b"a") + b"\0\0\0\raa", [10_240, 10_241])
    @example(b"10241 <" + b"a" * 10_239 + b"\n1 x", [10_246, 10_247])
    @example(b"garbage 8 <13>1 ab", [8, 9, 10, 12])
    def test_any_chunks(self, stream: bytes, cuts: list[int]) -> None:
        """The chunks change neither the messages nor the counts."""
        self.assertEqual(decode(*chunked(stream, cuts)), decode(stream))

    @settings(deadline=None, max_examples=40)
    @given(hostile)
    def test_single_bytes(self, stream: bytes) -> None:
        chunks = [stream[at : at + 1] for at in range(len(stream))]
        self.assertEqual(decode(*chunks), decode(stream))

    @settings(deadline=None)
    @given(st.lists(st.binary(max_size=2_000)), st.integers(1, 5_000))
    def test_round_trip(self, texts: list[bytes], size: int) -> None:
        """The content of a counted frame is never read as a frame, and never changed."""
        messages = [b"<13>1 " + text for text in texts]
        stream = b"".join(map(encode, messages))
        chunks = [stream[at : at + size] for at in range(0, len(stream), size)]
        self.assertEqual(decode(*chunks), (messages, 0, 0))

    @settings(deadline=None)
    @given(
        st.lists(
            st.binary(max_size=50).filter(lambda text: b"\n" not in text and b"\0" not in text)
        ),
        st.sampled_from([b"\n", b"\r\n", b"\0", b"\0\n", b"\n\n"]),
    )
    def test_lines_round_trip(self, texts: list[bytes], newline: bytes) -> None:
        messages = [b"<13>1 " + text.rstrip(b"\r") for text in texts]
        stream = b"".join(message + newline for message in messages)
        self.assertEqual(decode(stream), (messages, 0, 0))

    @settings(deadline=None)
    @given(
        st.lists(
            st.sampled_from([b"x", b"7 lines", b"54 <1 minute left", b"200 OK", b"<14", b"0"])
        ),
        st.booleans(),
    )
    def test_garbage_between(self, garbage: list[bytes], with_lf: bool) -> None:
        """Malformed lines cost no neighbour, and are counted one by one."""
        message = encode(b"<13>1 next")
        end = b"\n" if with_lf or len(garbage) != 1 else b" "
        stream = message + b"".join(line + end for line in garbage) + message
        self.assertEqual(decode(stream), ([b"<13>1 next"] * 2, len(garbage), 0))


class DamageTests(SynchronousTestCase):
    """One damaged message costs no further ones (CASES of real senders)."""

    NEXT = b"<13>1 next"

    def test_length_in_characters(self) -> None:
        message = "<13>1 café".encode()
        stream = b"%d %b" % (len(message) - 1, message) + encode(self.NEXT) * 1_000
        self.assertEqual(decode(stream), ([message[:-1], *[self.NEXT] * 1_000], 1, 0))

    def test_length_one_too_large(self) -> None:
        stream = (b"11 " + self.NEXT) * 5 + encode(self.NEXT) * 2
        messages, malformed, _ = decode(stream)
        self.assertEqual(messages[-1], self.NEXT)
        self.assertGreater(malformed, 0)

    def test_very_large_frame(self) -> None:
        """Its whole length is skipped, and nothing in it is read."""
        forged = b"\n" + encode(b"<13>1 forged") + b"\n<13>1 forged\n"
        large = b"<13>1 " + forged * 40_000
        self.assertGreater(len(large), MAX_FRAME_BYTES)
        stream = encode(large) + encode(self.NEXT) * 2
        chunks = [stream[at : at + 9_999] for at in range(0, len(stream), 9_999)]
        self.assertEqual(decode(*chunks), ([self.NEXT] * 2, 1, 0))

    def test_text_like_a_length(self) -> None:
        for line in (b"54 <1 minute elapsed", b"query:\n15 rows affected", b"200 OK", b"42 "):
            stream = line + b"\n" + (self.NEXT + b"\n") * 2
            self.assertEqual(decode(stream)[0], [self.NEXT] * 2, line)
            self.assertEqual(
                decode(*(stream[at : at + 1] for at in range(len(stream))))[0][-2:], [self.NEXT] * 2
            )

    def test_nul_ends_lines(self) -> None:
        """After a first NUL, LF is text (Python's SysLogHandler)."""
        stream = b"<13>1 one\0<13>1 a\nb\0<13>1 c\0"
        self.assertEqual(decode(stream), ([b"<13>1 one", b"<13>1 a\nb", b"<13>1 c"], 0, 0))
        decoder = FrameDecoder()
        self.assertEqual(decoder.feed(b"<13>1 one\0"), [b"<13>1 one"])

    def test_nul_in_a_line(self) -> None:
        stream = b"<13>1 one\n<13>1 a\0<14>1 b\n"
        self.assertEqual(decode(stream), ([b"<13>1 one", b"<13>1 a", b"<14>1 b"], 0, 0))

    def test_byte_order_marks(self) -> None:
        counted, line = encode(self.NEXT), self.NEXT + b"\n"
        for stream in (BOM + counted, BOM + line, encode(BOM + self.NEXT), counted + BOM + counted):
            messages, malformed, _ = decode(stream)
            self.assertEqual((set(messages), malformed), ({self.NEXT}, 0), stream)

    def test_nothing_but_a_byte_order_mark(self) -> None:
        """Some senders write one at the start, and nothing else or a line end after it."""
        for stream in (BOM, BOM + b"\r\n", b"\n" + BOM + b"\0" + BOM):
            self.assertEqual(decode(stream), ([], 0, 0), stream)
            self.assertEqual(decode(*(bytes([each]) for each in stream)), ([], 0, 0), stream)

    def test_bytes_between(self) -> None:
        """Line ends between messages are skipped and not counted."""
        for blank in (b"\n", b"\r\n", b"\0", b"\n\n\r\n\0"):
            stream = blank + (encode(self.NEXT) + blank) * 2 + self.NEXT + b"\n" + blank
            self.assertEqual(decode(stream), ([self.NEXT] * 3, 0, 0))


class DigitTests(SynchronousTestCase):
    """A LEN right behind a damaged text that ends in digits."""

    MESSAGE = b"<13>1 ".ljust(80, b"m")

    def decode_damaged(self, text: bytes, *after: bytes) -> Decoded:
        return decode(b"x " + text + encode(self.MESSAGE), *after)

    def test_followed(self) -> None:
        """LEN has the digits that make a frame which something follows."""
        for text in (b"took 1", b"id=47", b"0", b"1234567", b"1" * 30):
            for after in (encode(self.MESSAGE) * 2, b"<13>1 line\n", b"\n"):
                messages, malformed, _ = self.decode_damaged(text, after)
                self.assertEqual(messages[0], self.MESSAGE, (text, after))
                self.assertEqual(malformed, 1)

    def test_last(self) -> None:
        """The end of the connection may follow a frame too."""
        for text in (b"took 1", b"1234567", b"1" * 30):
            self.assertEqual(self.decode_damaged(text), ([self.MESSAGE], 1, 0))

    def test_longer(self) -> None:
        """A LEN is read whole although its last digits could be a LEN, too."""
        message = b"<13>1 ".ljust(180, b"m")
        for after in (encode(self.MESSAGE), b""):
            messages, malformed, _ = decode(b"x " + encode(message), after)
            self.assertEqual((messages[0], malformed), (message, 1))

    def test_one_too_large(self) -> None:
        """LENs that are one too large cost no more than themselves and the next message."""
        wrong = b"%d %b" % (len(self.MESSAGE) + 1, self.MESSAGE)
        good = [self.MESSAGE[:-2] + b"%02d" % number for number in range(50)]
        messages, _, _ = decode(wrong * 5, *map(encode, good))
        self.assertEqual(messages[-49:], good[1:])

    def test_many_digits(self) -> None:
        """Digits before a LEN never make a connection deaf."""
        messages, _, _ = decode(b"x 99999999999", encode(self.MESSAGE) * 10)
        self.assertGreaterEqual(messages.count(self.MESSAGE), 9)


class JoinTests(SynchronousTestCase):
    """Lines without a head, joined to the message before them if the option says so."""

    TRACE = b"<13>1 Traceback:\r\n  File x\r\n\tat 7 lines\nValueError\n"
    JOINED = b"<13>1 Traceback:\n  File x\n\tat 7 lines\nValueError"

    def decode(self, *chunks: bytes) -> Decoded:
        decoder = FrameDecoder(join_lines=True)
        messages = [message for chunk in chunks for message in decoder.feed(chunk)]
        messages += decoder.finish()
        return messages, decoder.malformed, decoder.truncated

    def test_joined(self) -> None:
        for after in (b"<14>1 next\n", b"10 <14>1 next"):
            stream = self.TRACE + after + self.TRACE
            expected = [self.JOINED, b"<14>1 next", self.JOINED], 0, 0
            self.assertEqual(self.decode(stream), expected)
            self.assertEqual(self.decode(*chunked(stream, list(range(len(stream))))), expected)

    def test_off(self) -> None:
        """Without the option each such line is malformed."""
        self.assertEqual(decode(self.TRACE), ([b"<13>1 Traceback:"], 3, 0))

    def test_last_line_without_end(self) -> None:
        self.assertEqual(self.decode(self.TRACE + b"end"), ([self.JOINED + b"\nend"], 0, 0))

    def test_nothing_before(self) -> None:
        """A line without a message before it, or after a counted frame, is malformed."""
        self.assertEqual(self.decode(b"at x\n<13>1 one\n"), ([b"<13>1 one"], 1, 0))
        self.assertEqual(self.decode(b"9 <13>1 oneat x\n"), ([b"<13>1 one"], 1, 0))

    def test_bounds(self) -> None:
        """A message has at most 64 lines and 10,240 bytes; further lines are malformed."""
        lines = b"<13>1 one\n" + b"x\n" * 63
        self.assertEqual(self.decode(lines), ([lines[:-1]], 0, 0))
        self.assertEqual(self.decode(lines + b"x\n" * 2), ([lines[:-1]], 2, 0))
        first = b"<13>1 ".ljust(10_000, b"a")
        self.assertEqual(
            self.decode(first + b"\n" + b"b" * 239 + b"\n"), ([first + b"\n" + b"b" * 239], 0, 0)
        )
        self.assertEqual(self.decode(first + b"\n" + b"b" * 240 + b"\n"), ([first], 1, 0))
        self.assertEqual(self.decode(first + b"\n" + b"b" * 20_000 + b"\n"), ([first], 1, 0))

    def test_bounds_of_the_last_line(self) -> None:
        """The same bounds hold for a last line without an end."""
        lines = b"<13>1 one\n" + b"x\n" * 63
        self.assertEqual(self.decode(lines + b"x"), ([lines[:-1]], 1, 0))
        first = b"<13>1 ".ljust(10_000, b"a")
        joined = first + b"\n" + b"b" * 239
        self.assertEqual(self.decode(joined), ([joined], 0, 0))
        self.assertEqual(self.decode(joined + b"b"), ([first], 1, 0))

    def test_after_a_malformed_frame(self) -> None:
        """Nothing is joined over one, whatever the pieces are."""
        stream = b"<13>1 one\n1 <15> x\nat x\nat y\n"
        for cuts in ([], [19], [24], [19, 24]):
            self.assertEqual(self.decode(*chunked(stream, cuts)), ([b"<13>1 one"], 3, 0))

    def test_flush(self) -> None:
        """A message is given when its time is over, and what comes then is not joined to it."""
        decoder = FrameDecoder(join_lines=True)
        self.assertEqual(decoder.feed(b"<13>1 one\nat x\n"), [])
        self.assertTrue(decoder.is_open)
        self.assertEqual(decoder.flush(), [b"<13>1 one\nat x"])
        self.assertFalse(decoder.is_open)
        self.assertEqual(decoder.feed(b"at y\n"), [])
        self.assertEqual(decoder.malformed, 1)

    @settings(deadline=None)
    @given(hostile, st.lists(st.integers(1, 3_000)))
    def test_chunks(self, stream: bytes, cuts: list[int]) -> None:
        """The pieces in which the bytes come make no difference, and no message is too long."""
        whole = self.decode(stream)
        self.assertEqual(self.decode(*chunked(stream, cuts)), whole)
        self.assertLessEqual(max(map(len, whole[0]), default=0), MAX_MESSAGE_BYTES)


class SenderTests(SynchronousTestCase):
    """All samples of real senders are understood."""

    def test_logger(self) -> None:
        messages, malformed, truncated = decode(samples.LOGGER)
        self.assertEqual((len(messages), malformed, truncated), (10, 0, 0))
        self.assertTrue(messages[-1].endswith(b'[x@1 k="v"] two words'))

    def test_rsyslog(self) -> None:
        messages, malformed, truncated = decode(samples.RSYSLOG)
        self.assertEqual((malformed, truncated), (0, 0))
        self.assertEqual(
            [message.rpartition(b"=")[2] for message in messages], [b"%d" % n for n in range(16)]
        )

    def test_syslog_ng(self) -> None:
        messages, malformed, truncated = decode(samples.SYSLOG_NG)
        self.assertEqual((malformed, truncated), (0, 0))
        self.assertEqual(
            [message.rpartition(b"=")[2] for message in messages], [b"%d\n" % n for n in range(17)]
        )

    def test_log_shuttle(self) -> None:
        last = samples.LOG_SHUTTLE_BODY.rfind(b"83 <")
        messages, truncated, _ = decode_body(samples.LOG_SHUTTLE_BODY[:last], MANY)
        self.assertEqual((len(messages), truncated), (6, 0))
        self.assertTrue(messages[5].endswith(b"- - shuttle line seq=5\n"))


class CountedTests(SynchronousTestCase):
    """Octet-counted frames."""

    def test_longest(self) -> None:
        message = b"<13>1 " + b"a" * (MAX_MESSAGE_BYTES - 6)
        self.assertEqual(decode(encode(message)), ([message], 0, 0))

    def test_too_long(self) -> None:
        """The first 10,240 bytes are the message, and exactly the rest is skipped."""
        message = b"<13>1 " + b"a" * 20_000
        stream = encode(message) + encode(b"<13>1 next")
        self.assertEqual(decode(stream), ([cut_message(message), b"<13>1 next"], 0, 1))

    def test_rest_forges_nothing(self) -> None:
        """The rest of a truncated message is not read as frames or lines."""
        forged = b"\n" + encode(b"<13>1 forged") + b"\n<13>1 forged\n"
        message = b"<13>1 ".ljust(10_240, b"a") + forged * 100
        for size in (1, 100, 10_247, 100_000):
            stream = encode(message)
            chunks = [stream[at : at + size] for at in range(0, len(stream), size)]
            self.assertEqual(decode(*chunks), ([cut_message(message)], 0, 1))

    def test_largest(self) -> None:
        stream = encode(b"<13>1 ".ljust(MAX_FRAME_BYTES, b"a")) + encode(b"<13>1 next")
        messages, malformed, truncated = decode(stream)
        self.assertEqual((messages[1:], malformed, truncated), ([b"<13>1 next"], 0, 1))

    def test_beyond_the_largest(self) -> None:
        """If such a frame does not begin as a message, its line is malformed."""
        stream = b"1048577 <13>text\r\n" + encode(b"<13>1 next")
        self.assertEqual(decode(stream), ([b"<13>1 next"], 1, 0))

    def test_too_long_and_no_message(self) -> None:
        self.assertEqual(decode(b"10241 text\n" + encode(b"<13>1 next")), ([b"<13>1 next"], 1, 0))

    def test_not_syslog(self) -> None:
        """A frame is a frame, whatever is in it."""
        self.assertEqual(decode(b"13 <42> blafasel"), ([b"<42> blafasel"], 0, 0))

    def test_malformed(self) -> None:
        for garbage in (b"x 5 hello", b"0 x", b"05 hello", b"12", b"12a 5", b"-1 a", b" 5 hello"):
            stream = garbage + b"\n" + encode(b"<13>1 next") + garbage + b"\r\n"
            self.assertEqual(decode(stream), ([b"<13>1 next"], 2, 0), garbage)

    def test_cut_off(self) -> None:
        """A frame that the end of the connection cuts off is malformed."""
        for part in (b"5", b"5 ", b"5 abcd", b"10241 ", b"10241 <abc"):
            self.assertEqual(decode(part), ([], 1, 0), part)

    def test_whole_at_the_end(self) -> None:
        self.assertEqual(decode(b""), ([], 0, 0))
        self.assertEqual(decode(b"8 <13>1 ab"), ([b"<13>1 ab"], 0, 0))

    def test_pieces(self) -> None:
        """A message is there with its last byte, not later."""
        decoder = FrameDecoder()
        chunks = (b"1", b"1", b" ", b"<13>1", b" worl", b"d8 <13>1 ab5")
        self.assertEqual(
            [decoder.feed(chunk) for chunk in chunks],
            [[], [], [], [], [], [b"<13>1 world", b"<13>1 ab"]],
        )


class LineTests(SynchronousTestCase):
    """Messages that end with an LF."""

    def test_between_counted(self) -> None:
        stream = b"8 <13>1 ab<13>1 one\n<14>1 two\r\n8 <13>1 ab"
        self.assertEqual(
            decode(stream), ([b"<13>1 ab", b"<13>1 one", b"<14>1 two", b"<13>1 ab"], 0, 0)
        )

    def test_not_rfc_5424(self) -> None:
        for line in (b"<13>Nov 22 text", b"<192>1 text", b"<013>1 text", b"<13>1", b"<x>1 a"):
            self.assertEqual(decode(line + b"\n8 <13>1 ab"), ([b"<13>1 ab"], 1, 0), line)

    def test_one_carriage_return(self) -> None:
        self.assertEqual(decode(b"<13>1 text\r\r\n")[0], [b"<13>1 text\r"])

    def test_longest(self) -> None:
        message = b"<13>1 ".ljust(MAX_MESSAGE_BYTES, b"a")
        for newline in (b"\n", b"\r\n"):
            self.assertEqual(decode(message + newline), ([message], 0, 0))

    def test_too_long(self) -> None:
        message = b"<13>1 ".ljust(30_000, b"a")
        stream = message + b"\r\n<13>1 next\n"
        self.assertEqual(decode(stream), ([cut_message(message), b"<13>1 next"], 0, 1))

    def test_last_without_newline(self) -> None:
        """A sender may end its last message with the connection (as RFC 6587 §3.4.2 tells)."""
        self.assertEqual(decode(b"<13>1 one\n<13>1 two"), ([b"<13>1 one", b"<13>1 two"], 0, 0))
        self.assertEqual(decode(b"<13>1 one\n<13"), ([b"<13>1 one"], 1, 0))


class BoundTests(SynchronousTestCase):
    """Whatever comes, little is kept."""

    def held(self, stream: bytes, size: int) -> int:
        decoder = FrameDecoder()
        most = 0
        for at in range(0, len(stream), size):
            decoder.feed(stream[at : at + size])
            most = max(most, len(decoder._held))
        return most

    def test_garbage(self) -> None:
        """Garbage without an LF is not kept at all, and counted once."""
        decoder = FrameDecoder()
        for _ in range(100):
            decoder.feed(b"x" * 10_000)
            self.assertEqual(len(decoder._held), 0)
        self.assertEqual(decoder.malformed, 1)

    @settings(deadline=None, max_examples=50)
    @given(hostile, st.integers(1, 20_000))
    @example(b"<13>1 " + b"a" * 50_000, 1_000)
    @example(b"10240 " + b"a" * 10_239, 100)
    @example(b"1048576 <" + b"a" * 50_000, 1_000)
    @example(b"1" * 50_000, 10)
    def test_held(self, stream: bytes, size: int) -> None:
        self.assertLessEqual(self.held(stream, size), MAX_HELD_BYTES)

    def test_garbage_lines(self) -> None:
        """Many short lines of garbage are looked at together."""
        looks = 0

        class Watched(FrameDecoder):
            def _read_other(self, chunk: bytes, start: int, frames: list[bytes]) -> int | None:
                nonlocal looks
                looks += 1
                return super()._read_other(chunk, start, frames)

        decoder = Watched()
        for line in (b"\n", b"<\n", b"1\n", b"0 \n", b"\r\n", b"12\n", b"<13>1\n"):
            decoder.feed(line * 1_000)
        self.assertEqual(decoder.malformed, 5_000)
        self.assertLess(looks, 20)

    def test_linear(self) -> None:
        """A message in single bytes is looked at when it is whole, not at every byte."""
        looks = 0

        class Watched(FrameDecoder):
            def _read_other(self, chunk: bytes, start: int, frames: list[bytes]) -> int | None:
                nonlocal looks
                looks += 1
                return super()._read_other(chunk, start, frames)

        for stream in (b"10000 <13>1 ".ljust(10_006, b"a"), b"<13>1 ".ljust(10_000, b"a") + b"\n"):
            looks = 0
            decoder = Watched()
            messages = [decoder.feed(stream[at : at + 1]) for at in range(len(stream))]
            self.assertEqual(sum(map(len, messages)), 1)
            self.assertLess(looks, 20)


class CutTests(SynchronousTestCase):
    """The fast path alone."""

    @settings(deadline=None)
    @given(st.lists(st.binary(min_size=1, max_size=1_500)), hostile, st.binary(max_size=5))
    def test_stops_where_others_go_on(
        self, messages: list[bytes], rest: bytes, before: bytes
    ) -> None:
        messages = [b"<191>1 " + text for text in messages]
        stream = before + b"".join(map(encode, messages)) + b"x" + rest
        found = len(stream) - len(rest) - 1
        self.assertEqual(cut_frames(stream, len(before), FrameHeads()), (messages, found))

    def test_every_size(self) -> None:
        for size in (7, 9, 10, 99, 100, 999, 1_000, 9_999, 10_000, 10_240):
            message = b"<13>1 ".ljust(size)
            self.assertEqual(cut_frames(encode(message), 0, FrameHeads())[0], [message])
            self.assertEqual(cut_frames(encode(message)[:-1], 0, FrameHeads()), ([], 0))

    def test_not_whole(self) -> None:
        for part in (b"", b"1", b"1 ", b"12", b"123", b"1234", b"10241 x", b"01 x", b"0 ", b" 1 x"):
            self.assertEqual(cut_frames(part, 0, FrameHeads()), ([], 0), part)


class CutLinesTests(SynchronousTestCase):
    """The fast path for lines alone."""

    def test_whole_lines(self) -> None:
        stream = b"x<13>1 one\n<191>1 two\r\n<0>1 \n<13>1 not whole"
        self.assertEqual(
            cut_lines(stream, 1), ([b"<13>1 one", b"<191>1 two", b"<0>1 "], stream.rfind(b"<"))
        )

    def test_stops(self) -> None:
        """Cutting stops at other lines, incomplete ones and ones that are too long."""
        for rest in (
            b"",
            b"5 hello\n",
            b"<13>1\n",
            b"<13>1\n <13>1 x\n",
            b"<192>1 x\n",
            b"<13>1 ".ljust(10_241, b"a") + b"\n",
        ):
            stream = b"<13>1 one\n" + rest
            self.assertEqual(cut_lines(stream, 0), ([b"<13>1 one"], 10), rest)


class BodyTests(SynchronousTestCase):
    """Whole POST bodies."""

    @settings(deadline=None)
    @given(
        st.lists(st.binary(min_size=1, max_size=500)),
        st.sampled_from([b"", b"\n", b"\r\n", b"\n\n"]),
    )
    def test_round_trip(self, messages: list[bytes], between: bytes) -> None:
        """Blank lines between frames do not matter."""
        body = between + b"".join(encode(message) + between for message in messages)
        self.assertEqual(decode_body(body, MANY)[:2], (messages, 0))

    def test_nothing_but_blank_lines(self) -> None:
        """They cost time and memory like bytes, not like messages."""
        for blank in (b"\n", b"\r\n"):
            body = blank * 500_000
            tracemalloc.start()
            try:
                self.assertEqual(decode_body(body, MANY), ([], 0, 0))
                _, peak_bytes = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            self.assertLess(peak_bytes, 2 * len(body))

    def test_truncated(self) -> None:
        message = b"<13>1 ".ljust(20_000, b"a")
        body = encode(b"one") + encode(message) + encode(b"two")
        self.assertEqual(decode_body(body, MANY), ([b"one", cut_message(message), b"two"], 1, 2))

    def test_malformed(self) -> None:
        for frame in (
            b"x",
            b"5 hell",
            b"5",
            b"05 hello",
            b"0 ",
            b"<13>1 line\n",
            b"\r",
            b"10241 <short",
            b"10241 text".ljust(20_000),
            b"1048577 <13>1 ".ljust(1_048_590),
        ):
            with self.assertRaises(FramingError):
                decode_body(encode(b"one") + frame, MANY)

    def test_too_many(self) -> None:
        """Nothing beyond the bound is cut, in whatever way the messages are framed."""
        long = encode(b"<13>1 ".ljust(11_000))
        for body in (b"1 a" * 3, b"1 a\n1 a\n1 a\n", long * 3, b"1 a1 a" + long):
            self.assertEqual(len(decode_body(body, 3)[0]), 3)
            with self.assertRaises(TooManyMessages):
                decode_body(body, 2)
        self.assertEqual(cut_frames(b"6 <1>1 a" * 3, 0, FrameHeads(), 2), ([b"<1>1 a"] * 2, 16))

    @settings(deadline=None)
    @given(hostile)
    def test_all_or_nothing(self, body: bytes) -> None:
        """A body is either whole frames or an error."""
        try:
            messages, truncated, _ = decode_body(body, MANY)
        except FramingError:
            return
        self.assertLessEqual(truncated, len(messages))
        self.assertEqual(max(map(len, messages), default=0) > 10_240, False)


class TooLargeLengthTests(SynchronousTestCase):
    """A LEN that is too large by the whole LEN of the next frame."""

    def test_not_deaf(self) -> None:
        """The next frame is lost, and none after it."""
        messages = [b"<13>1 message %03d".ljust(80, b"m") % each for each in range(300)]
        bad = b"83 <13>1 ".ljust(83, b"b")
        stream = bad + b"".join(map(encode, messages))
        for cuts in ([], [85], [90, 170], list(range(1, 400))):
            found, malformed, truncated = decode(*chunked(stream, cuts))
            self.assertEqual((found[1:], malformed, truncated), (messages[1:], 1, 0))
