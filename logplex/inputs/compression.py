# SPDX-License-Identifier: Apache-2.0

"""The decompression of request bodies (RFC 1950 to 1952, RFC 8878), up to a maximum size."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Iterator

try:
    import zstandard
except ImportError:  # An extra: pip install 'logplex[zstd]'.
    zstandard = None  # type: ignore[assignment]

#: A body may consist of several members; this bound stops bodies made of empty members.
MAX_MEMBERS = 10_000
#: The largest piece of decompressed data of gzip and deflate.
PIECE_BYTES = 65_536
#: The most input that zstd is given at a time. 4 bytes of it can mean 128 KiB of data, and it gives
#: all data of its input at once, so at most 8 MiB.
ZSTD_TAKEN_BYTES = 256
#: The largest window of zstd: every decoder should take this one (RFC 8878 §3.1.1.1.2).
ZSTD_WINDOW_BYTES = 8_388_608

# zlib gets slices of the body, because it copies all input that follows the end of a member.
_TAKEN_BYTES = 16_384
_GZIP = zlib.MAX_WBITS | 16
_ZLIB = zlib.MAX_WBITS
_RAW = -zlib.MAX_WBITS


class BadCompression(ValueError):
    """The body of a request does not have the announced encoding, or is incomplete."""


class TooLarge(ValueError):
    """The body of a request would be larger than allowed after decompression."""


def decompress(body: bytes, encoding: str, max_bytes: int) -> Iterator[bytes]:
    """
    Decompress the body of a request, piece by piece.

    :param encoding: one of :data:`ENCODINGS`.
    :param max_bytes: the maximum size of the result. Up to one piece more may be decompressed.
    :raises BadCompression: the body does not have this encoding, is incomplete, or has more than
        :data:`MAX_MEMBERS` members.
    :raises TooLarge: the result would be larger than ``max_bytes``.
    """
    room = max_bytes
    for piece in _DECODERS[encoding](body):
        room -= len(piece)
        if room < 0:
            raise TooLarge
        yield piece


def _gzip(body: bytes) -> Iterator[bytes]:
    """Decompress all members of a gzip body. Zeros after the last member are padding."""
    position = 0
    for _ in range(MAX_MEMBERS):
        position = yield from _inflate(body, position, _GZIP)
        if position == len(body) or (body[position] == 0 and not body[position:].strip(b"\0")):
            return
    raise BadCompression("too many members")


def _deflate(body: bytes) -> Iterator[bytes]:
    """
    Decompress a zlib stream. Some senders use the name "deflate" for a stream without a zlib
    header, which is decompressed too.
    """
    is_zlib = body[:1] != b"" and body[0] & 15 == 8 and int.from_bytes(body[:2], "big") % 31 == 0
    end = yield from _inflate(body, 0, _ZLIB if is_zlib else _RAW)
    if end < len(body):
        raise BadCompression("more follows")


def _inflate(body: bytes, position: int, wbits: int) -> Generator[bytes, None, int]:
    """
    Decompress one stream of a body, which begins at a position. Return the position of the stream's
    end.
    """
    member = zlib.decompressobj(wbits)
    taken = piece = b""
    while not member.eof:
        # After a full piece, zlib may hold more output for the input that it has.
        if not taken and len(piece) < PIECE_BYTES:
            if position == len(body):
                raise BadCompression("cut off")
            taken = body[position : position + _TAKEN_BYTES]
            position += len(taken)
        try:
            piece = member.decompress(taken, PIECE_BYTES)
        except zlib.error as error:
            raise BadCompression(str(error)) from None
        taken = member.unconsumed_tail
        yield piece
    return position - len(member.unused_data)


def _zstd(body: bytes) -> Iterator[bytes]:
    """Decompress all frames of a Zstandard body."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES)
    position = 0
    for _ in range(MAX_MEMBERS):
        frame = decompressor.decompressobj()
        while not frame.eof:
            if position == len(body):
                raise BadCompression("cut off")
            taken = body[position : position + ZSTD_TAKEN_BYTES]
            position += len(taken)
            try:
                yield frame.decompress(taken)
            except zstandard.ZstdError as error:
                raise BadCompression(str(error)) from None
        position -= len(frame.unused_data)
        if position == len(body):
            return
    raise BadCompression("too many members")


_DECODERS: dict[str, Callable[[bytes], Iterator[bytes]]] = {"gzip": _gzip, "deflate": _deflate}
if zstandard is not None:
    _DECODERS["zstd"] = _zstd

#: The encodings of bodies that are taken (RFC 9110 §8.4.1).
ENCODINGS = tuple(_DECODERS)
