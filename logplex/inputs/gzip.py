"""
Bodies that come compressed (RFC 1952), made large again within bounds.
"""

from __future__ import annotations

import zlib

#: A body may consist of several members, one after another, but not of nothing but members.
MAX_MEMBERS = 10_000

# zlib is given pieces: what follows a member in the same piece is copied.
_PIECE_BYTES = 16_384
_GZIP = zlib.MAX_WBITS | 16


class BadGzip(ValueError):
    """This is not gzip, or it is cut off."""


class TooLarge(ValueError):
    """Decompressed, it is larger than it may be."""


def decompress(body: bytes, max_bytes: int) -> bytes:
    """
    Decompress all members of a body. Zeros after the last one are padding.

    :param max_bytes: of the result; nothing beyond is kept, and little beyond is decompressed.
    :raises BadGzip: also for more than :data:`MAX_MEMBERS`.
    :raises TooLarge: the result would be larger.
    """
    result: list[bytes] = []
    room = max_bytes
    position = 0
    for _ in range(MAX_MEMBERS):
        member = zlib.decompressobj(_GZIP)
        while not member.eof:
            if position == len(body):
                raise BadGzip("cut off")
            piece = body[position : position + _PIECE_BYTES]
            try:
                data = member.decompress(piece, room + 1)
            except zlib.error as error:
                raise BadGzip(str(error)) from None
            room -= len(data)
            if room < 0:
                raise TooLarge
            result.append(data)
            position += len(piece) - len(member.unused_data)
        if position == len(body) or (body[position] == 0 and not body[position:].strip(b"\0")):
            return b"".join(result)
    raise BadGzip("too many members")
