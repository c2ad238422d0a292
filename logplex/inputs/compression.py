"""
Decompression of gzip bodies (RFC 1952) within bounds.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

#: A body may consist of several members; this bound stops bodies made of empty members.
MAX_MEMBERS = 10_000
#: The largest piece of decompressed data.
PIECE_BYTES = 65_536

# zlib gets slices of the body, because it copies all input that follows the end of a member.
_TAKEN_BYTES = 16_384
_GZIP = zlib.MAX_WBITS | 16


class BadGzip(ValueError):
    """The body is not gzip, or is cut off."""


class TooLarge(ValueError):
    """The decompressed body would be larger than allowed."""


def inflate(body: bytes, max_bytes: int) -> Iterator[bytes]:
    """
    Decompress all members of a body, piece by piece. Zeros after the last member are padding.

    :param max_bytes: bound on the result; at most one piece more is decompressed.
    :raises BadGzip: the body is not gzip, is cut off, or has more than :data:`MAX_MEMBERS` members.
    :raises TooLarge: the result would be larger.
    """
    room = max_bytes
    position = 0
    for _ in range(MAX_MEMBERS):
        member = zlib.decompressobj(_GZIP)
        taken = piece = b""
        while not member.eof:
            # After a full piece, zlib may hold more output for the input that it has.
            if not taken and len(piece) < PIECE_BYTES:
                if position == len(body):
                    raise BadGzip("cut off")
                taken = body[position : position + _TAKEN_BYTES]
                position += len(taken)
            try:
                piece = member.decompress(taken, PIECE_BYTES)
            except zlib.error as error:
                raise BadGzip(str(error)) from None
            taken = member.unconsumed_tail
            room -= len(piece)
            if room < 0:
                raise TooLarge
            yield piece
        position -= len(member.unused_data)
        if position == len(body) or (body[position] == 0 and not body[position:].strip(b"\0")):
            return
    raise BadGzip("too many members")
