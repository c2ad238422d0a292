# SPDX-License-Identifier: Apache-2.0

"""
Locks for channels, so that changes of one channel are made one after another.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from attrs import define, field
from twisted.internet.defer import DeferredLock


@define(eq=False, repr=False)
class ChannelLocks:
    """The locks of the channels that are being changed. A lock exists only while it is used."""

    _locks: dict[str, DeferredLock] = field(factory=dict, init=False)

    @asynccontextmanager
    async def alone(self, channel_id: str) -> AsyncIterator[None]:
        """Hold the lock of a channel during a ``with`` block."""
        lock = self._locks.setdefault(channel_id, DeferredLock())
        await lock.acquire()
        try:
            yield
        finally:
            lock.release()  # This may run the next change to its end.
            if not lock.locked and self._locks.get(channel_id) is lock:
                del self._locks[channel_id]
