# SPDX-License-Identifier: Apache-2.0

"""Compressed bodies: exact, and never larger than they may be."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from random import randbytes

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from logplex.inputs import compression
from logplex.inputs.compression import (
    ENCODINGS,
    MAX_MEMBERS,
    PIECE_BYTES,
    BadCompression,
    TooLarge,
)

try:
    import zstandard
except ImportError:
    zstandard = None  # type: ignore[assignment]


def decompress(body: bytes, max_bytes: int, encoding: str = "gzip") -> bytes:
    return b"".join(compression.decompress(body, encoding, max_bytes))


class GzipTests(SynchronousTestCase):
    @settings(deadline=None)
    @given(st.lists(st.binary(max_size=50_000), min_size=1, max_size=4), st.integers(0, 20))
    def test_round_trip(self, texts: list[bytes], padding: int) -> None:
        """Any number of members, and zeros after them."""
        body = b"".join(map(gzip.compress, texts)) + b"\0" * padding
        text = b"".join(texts)
        self.assertEqual(decompress(body, len(text)), text)

    @settings(deadline=None)
    @given(st.binary(max_size=100), st.binary(max_size=200), st.data())
    def test_cut_off(self, one: bytes, two: bytes, data: st.DataObject) -> None:
        """Nothing of a body is taken where its end is missing."""
        first, second = gzip.compress(one), gzip.compress(two)
        missing = data.draw(st.integers(1, len(second) - 1))
        with self.assertRaises(BadCompression):
            decompress(first + second[:-missing], 10_000)

    def test_no_gzip(self) -> None:
        good = gzip.compress(b"hello")
        for body in (b"", b"hello", good + b"hello", good + b"\0hello", good[:20] + b"x" * 10):
            with self.assertRaises(BadCompression):
                decompress(body, 1_000)

    @settings(deadline=None)
    @given(st.integers(0, 4), st.integers(-3, 3), st.booleans(), st.binary(max_size=20))
    def test_pieces(self, count: int, more: int, is_random: bool, end: bytes) -> None:
        """They are small, however much is made of how little, and wherever they end."""
        size = max(0, count * PIECE_BYTES + more)
        text = (randbytes(size) if is_random else b"x" * size) + end
        pieces = list(
            compression.decompress(
                gzip.compress(text) + gzip.compress(end), "gzip", len(text + end)
            )
        )
        self.assertEqual(b"".join(pieces), text + end)
        self.assertLessEqual(max(map(len, pieces)), PIECE_BYTES)

    def test_larger(self) -> None:
        body = gzip.compress(b"x" * 500) + gzip.compress(b"y" * 501)
        self.assertEqual(len(decompress(body, 1_001)), 1_001)
        with self.assertRaises(TooLarge):
            decompress(body, 1_000)

    def test_bomb(self) -> None:
        """It costs about as much memory as the largest body, not as what is in it."""
        body = gzip.compress(b"\0" * 100_000_000)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        with self.assertRaises(TooLarge):
            decompress(body, 1_000_000)
        self.assertLess(tracemalloc.get_traced_memory()[1], 5_000_000)

    def test_nothing_but_members(self) -> None:
        empty = gzip.compress(b"")
        self.assertEqual(decompress(empty * MAX_MEMBERS, 0), b"")
        with self.assertRaises(BadCompression):
            decompress(empty * (MAX_MEMBERS + 1), 0)


class DeflateTests(SynchronousTestCase):
    """Streams of zlib, and bare ones: senders disagree about the meaning of the name."""

    def raw(self, text: bytes) -> bytes:
        raw = zlib.compressobj(wbits=-15)
        return raw.compress(text) + raw.flush()

    @settings(deadline=None)
    @given(st.binary(max_size=50_000), st.integers(0, 9))
    def test_round_trip(self, text: bytes, level: int) -> None:
        for body in (zlib.compress(text, level), self.raw(text)):
            self.assertEqual(decompress(body, len(text), "deflate"), text)

    def test_malformed(self) -> None:
        for good in (zlib.compress(b"hello"), self.raw(b"hello")):
            for body in (b"", good[:-1], good + b"x", b"hello"):
                with self.assertRaises(BadCompression):
                    decompress(body, 1_000, "deflate")

    def test_larger(self) -> None:
        with self.assertRaises(TooLarge):
            decompress(self.raw(b"x" * 1_001), 1_000, "deflate")


class ZstdTests(SynchronousTestCase):
    """Bodies of zstd, where the extra is installed."""

    if "zstd" not in ENCODINGS:
        skip = "zstandard is not installed"

    def compress(self, text: bytes) -> bytes:
        return zstandard.ZstdCompressor().compress(text)

    @settings(deadline=None)
    @given(st.lists(st.binary(max_size=50_000), min_size=1, max_size=4))
    def test_round_trip(self, texts: list[bytes]) -> None:
        text = b"".join(texts)
        self.assertEqual(decompress(b"".join(map(self.compress, texts)), len(text), "zstd"), text)

    def test_malformed(self) -> None:
        good = self.compress(b"hello" * 100)
        for body in (b"hello", good[:-1], good + b"x", good + good[:-1], b""):
            with self.assertRaises(BadCompression):
                decompress(body, 10_000, "zstd")

    def test_bomb(self) -> None:
        """It is found before much of it is decompressed."""
        body = self.compress(b"\0" * 200_000_000)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        with self.assertRaises(TooLarge):
            decompress(body, 1_000_000, "zstd")
        self.assertLess(tracemalloc.get_traced_memory()[1], 30_000_000)

    def test_window(self) -> None:
        """A sender cannot make the node allocate a window of gigabytes."""
        large = zstandard.ZstdCompressionParameters(window_log=27)
        compressor = zstandard.ZstdCompressor(compression_params=large)
        compressing = compressor.compressobj()
        body = compressing.compress(b"x" * 9_000_000) + compressing.flush()
        with self.assertRaises(BadCompression):
            decompress(body, 10_000_000, "zstd")

    def test_nothing_but_members(self) -> None:
        empty = self.compress(b"")
        with self.assertRaises(BadCompression):
            decompress(empty * (MAX_MEMBERS + 1), 0, "zstd")
