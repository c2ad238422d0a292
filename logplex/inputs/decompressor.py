"""
Large compressed bodies, which must not keep the node from everything else.
"""

from __future__ import annotations

from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from logplex.inputs.compression import PIECE_BYTES, inflate

#: Half a megabyte, which takes some milliseconds. What is smaller is done at once.
PIECES_A_TURN = 524_288 // PIECE_BYTES


class Decompressor:
    """
    Decompresses in slices, between which the reactor does what else there is to do.

    One body at a time: those that wait are small still.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._lock = DeferredLock()

    async def decompress(self, body: bytes, max_bytes: int) -> bytes:
        """
        What a compressed body holds.

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
