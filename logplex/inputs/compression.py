"""
Bodies that come compressed (RFC 1952), made large again within bounds.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

#: A body may consist of several members, one after another, but not of nothing but members.
MAX_MEMBERS = 10_000
#: What is given at a time, at most.
PIECE_BYTES = 65_536

# zlib is given pieces: what follows a member in the same piece is copied.
_TAKEN_BYTES = 16_384
_GZIP = zlib.MAX_WBITS | 16


class BadGzip(ValueError):
    """This is not gzip, or it is cut off."""


class TooLarge(ValueError):
    """Decompressed, it is larger than it may be."""


def inflate(body: bytes, max_bytes: int) -> Iterator[bytes]:
    """
    Decompress all members of a body, piece by piece. Zeros after the last one are padding.

    :param max_bytes: of the result; little beyond is decompressed.
    :raises BadGzip: also for more than :data:`MAX_MEMBERS`.
    :raises TooLarge: the result would be larger.
    """
    room = max_bytes
    position = 0
    for _ in range(MAX_MEMBERS):
        member = zlib.decompressobj(_GZIP)
        taken = piece = b""
        while not member.eof:
            # A piece that is full may not be all that can be made of what was taken.
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
