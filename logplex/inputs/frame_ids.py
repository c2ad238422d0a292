"""
Requests that were answered before, and are told apart by their ``Logplex-Frame-Id`` (PROTOCOL §4).
"""

from __future__ import annotations

from hashlib import blake2b

from twisted.internet.interfaces import IReactorTime

from logplex.settings import Limits


class FrameIds:
    """
    The frame ids of the last minutes, each of one sender, and a bounded number of all together.

    What is kept of one is a digest: ids may be as long as headers may be.
    """

    def __init__(self, limits: Limits, clock: IReactorTime) -> None:
        self._limits = limits
        self._clock = clock
        #: Digest -> when it was given last, the oldest first.
        self._times: dict[bytes, float] = {}

    def __len__(self) -> int:
        return len(self._times)

    def add(self, sender: bytes, frame_id: bytes) -> None:
        """The sender has got a 204 for this, just now."""
        times = self._times
        key = _digest(sender, frame_id)
        times.pop(key, None)
        times[key] = self._clock.seconds()
        while times:
            oldest = next(iter(times))
            if len(times) <= self._limits.logs_frame_ids and not self._is_over(times[oldest]):
                break
            del times[oldest]

    def has(self, sender: bytes, frame_id: bytes) -> bool:
        """Whether the sender got a 204 for this, not too long ago."""
        given_at = self._times.get(_digest(sender, frame_id))
        return given_at is not None and not self._is_over(given_at)

    def _is_over(self, given_at: float) -> bool:
        return self._clock.seconds() - given_at >= self._limits.logs_frame_id_lifetime_s


def _digest(sender: bytes, frame_id: bytes) -> bytes:
    # No sender's name contains a NUL, so no two pairs are one.
    return blake2b(b"%b\0%b" % (sender, frame_id), digest_size=16).digest()
