# SPDX-License-Identifier: Apache-2.0

"""
Requests that were answered before, recognised by their ``Logplex-Frame-Id`` (PROTOCOL §4).
"""

from __future__ import annotations

from hashlib import blake2b

from twisted.internet.interfaces import IReactorTime

from logplex.live import Live
from logplex.settings import Limits


class FrameIds:
    """
    The frame ids of requests that were answered in the last minutes, up to a maximum number.

    Only a digest of each id is kept, because an id may be as long as a header.
    """

    def __init__(self, limits: Live[Limits], clock: IReactorTime) -> None:
        self._limits = limits
        self._clock = clock
        #: Digest -> time of the last request with it, the oldest first.
        self._times: dict[bytes, float] = {}

    def __len__(self) -> int:
        return len(self._times)

    def add(self, digest: bytes) -> None:
        """
        Remember the digest of a request that was just answered with 204.

        :param digest: see :func:`frame_digest`.
        """
        times = self._times
        times.pop(digest, None)
        times[digest] = self._clock.seconds()
        while times:
            oldest = next(iter(times))
            if len(times) <= self._limits.now.logs_frame_ids and not self._is_over(times[oldest]):
                break
            del times[oldest]

    def has(self, digest: bytes) -> bool:
        """Return true if the request with this digest was answered with 204 in the last minutes."""
        given_at = self._times.get(digest)
        return given_at is not None and not self._is_over(given_at)

    def _is_over(self, given_at: float) -> bool:
        return self._clock.seconds() - given_at >= self._limits.now.logs_frame_id_lifetime_s


def frame_digest(sender: bytes, frame_id: bytes) -> bytes:
    """Return 16 bytes that identify the request of a sender with a frame id."""
    # No sender's name contains a NUL, so different pairs give different bytes.
    return blake2b(b"%b\0%b" % (sender, frame_id), digest_size=16).digest()
