"""
Decompression of large bodies in slices, so that the reactor stays responsive.
"""

from __future__ import annotations

from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from logplex.inputs.compression import PIECE_BYTES, inflate

#: Half a megabyte, which takes some milliseconds. A smaller body is decompressed in one turn.
PIECES_A_TURN = 524_288 // PIECE_BYTES


class Decompressor:
    """
    Decompress bodies in slices, and let the reactor do other work between the slices.

    Only one body is decompressed at a time. The bodies that wait are still compressed, so small.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._lock = DeferredLock()

    async def decompress(self, body: bytes, max_bytes: int) -> bytes:
        """
        Return the decompressed body.

        :raises BadGzip: or :class:`~logplex.inputs.compression.TooLarge`: see
            :func:`~logplex.inputs.compression.inflate`.
        """
        await self._lock.acquire()
        try:
            pieces: list[bytes] = []
            for piece in inflate(body, max_bytes):
                if pieces and len(pieces) % PIECES_A_TURN == 0:
                    await deferLater(self._clock, 0)
                pieces.append(piece)
            return b"".join(pieces)
        finally:
            self._lock.release()
