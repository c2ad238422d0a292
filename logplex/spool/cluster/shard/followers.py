# SPDX-License-Identifier: Apache-2.0

"""
The channels that this node follows on one shard. Their followers are told each message once, even
if the shard goes away and comes back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, KeysView
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from logplex.interfaces import StoreAway
from logplex.spool.cluster.shard.follower import Following, Progress, Reading
from logplex.spool.cluster.shard.outbox import Outbox
from logplex.spool.cluster.wire.history import History
from logplex.spool.cluster.wire.scripts import Origin, parse_published

_log = Logger()

#: Channels whose histories are read at a time when a shard comes back.
_RESUMED_AT_A_TIME = 8
#: Publications that are not batches and are logged; an older node makes one for every message.
_MOST_WARNINGS = 10


class Followers:
    """
    The channels of one shard that have followers on this node.

    :param prefix: the prefix of the names of publications.
    :param presence: returns a number that grows each time the shard comes back; ``None`` while the
        shard is away.
    :param ask: sends a command over the link for published messages.
    :param read: reads the last number of a channel, and the channel's entries after a given number;
        no entries if that number is ``None``.
    :param written: fires when the waiting messages of a channel are written, or after a timeout.
    :param failed: called with the reason if the shard does not answer although it is present.
    """

    def __init__(
        self,
        origin: Origin,
        prefix: str,
        outbox: Outbox,
        presence: Callable[[], int | None],
        *,
        ask: Callable[..., Deferred[Any]],
        read: Callable[[str, int | None], Awaitable[History]],
        written: Callable[[str], Awaitable[None]],
        failed: Callable[[str], None],
    ) -> None:
        self._origin = origin
        self._prefix = prefix
        self._outbox = outbox
        self._presence = presence
        self._ask = ask
        self._read = read
        self._written = written
        self._failed = failed
        self._followed: dict[str, Progress] = {}
        self._warnings = 0

    @property
    def channels(self) -> KeysView[str]:
        """The ids of the followed channels. This view is always up to date."""
        return self._followed.keys()

    def came(self) -> None:
        """
        Give the followers of all channels the messages that they missed, because the shard is
        present again.
        """
        presence = self._presence()
        channels = iter(list(self._followed.items()))
        for _ in range(min(_RESUMED_AT_A_TIME, len(self._followed))):
            _start(self._resume(channels, presence))

    def went(self) -> None:
        """Mark the shard as away for all followed channels."""
        self._lose(list(self._followed))

    def received(self, channel_id: str, messages: list[bytes]) -> None:
        """Register messages that this node has received, and will write to the shard."""
        progress = self._followed.get(channel_id)
        if progress is not None:
            progress.received(messages)

    def published(self, name: bytes, data: bytes) -> None:
        """
        Give the followers of a channel the messages that the shard has published.

        :param name: the name of the publication, which contains the channel's id.
        """
        channel_id = name.decode("utf-8", "replace").removeprefix(self._prefix)
        progress = self._followed.get(channel_id)
        if progress is None:
            return
        try:
            published = parse_published(data)
        except ValueError as error:
            if self._warnings < _MOST_WARNINGS:
                self._warnings += 1
                _log.warn("a publication on a shard is not a batch: {error}", error=str(error))
            return
        if published.origin == self._origin:
            self._outbox.heard(published.batch, channel_id)
        progress.published(published)

    def away_from(self, channel_id: str) -> bool:
        """Return true if publications of the channel do not arrive from the shard now."""
        progress = self._followed.get(channel_id)
        return self._presence() is None if progress is None else progress.away

    async def join(
        self, channel_id: str, following: Following, after: int | None = 0
    ) -> Reading | None:
        """
        Follow a channel, and read the channel's history for a follower that joins.

        The result fires when the other followers have been told all messages of the history.

        :param after: read the entries after this number; no entries if ``None``.
        :return: the reading, which the caller must pass to :meth:`joined`; ``None`` if the shard is
            away.
        """
        progress = self._followed.get(channel_id)
        if progress is None:
            progress = self._followed[channel_id] = Progress(following, self._origin)
            if self._presence() is None:
                self._lose([channel_id])
        if progress.away:
            return None
        reading = Reading(self._outbox.bounds.kept)
        progress.readings.append(reading)
        is_current = False
        try:
            await self._ask("SUBSCRIBE", self._prefix + channel_id)
            await self._written(channel_id)
            waiting = self._outbox.unheard({channel_id}).get(channel_id, [])
            reading.own = [each for each in waiting if progress.was_told(each[0])]
            history = await self._read(channel_id, after)
            if self._is_current(channel_id, progress):
                progress.read(reading, history)
                if (progress.position or 0) < history.last:
                    # Earlier publications are still on their way.
                    await self._ask("PING")
                is_current = self._is_current(channel_id, progress)
        except StoreAway as away:
            self._failed(str(away))
        finally:
            if not is_current:
                progress.readings.remove(reading)
        return reading if is_current else None

    def joined(self, channel_id: str, reading: Reading) -> None:
        """End a reading that :meth:`join` returned."""
        progress = self._followed.get(channel_id)
        if progress is not None and reading in progress.readings:
            progress.readings.remove(reading)

    def leave(self, channel_id: str, unwritten: bool = False) -> None:
        """Stop following a channel; see :meth:`Progress.ended`."""
        progress = self._followed.pop(channel_id, None)
        if progress is not None:
            progress.ended(unwritten)
            # If this fails the subscription ends with its connection.
            self._ask("UNSUBSCRIBE", self._prefix + channel_id).addErrback(lambda _: None)

    def _is_current(self, channel_id: str, progress: Progress) -> bool:
        return self._followed.get(channel_id) is progress and not progress.away

    async def _resume(self, channels: Iterator[tuple[str, Progress]], presence: int | None) -> None:
        """
        Give the followers of some channels the messages that they missed, one channel after
        another, while the shard is present.
        """
        for channel_id, progress in channels:
            if self._presence() != presence:
                return
            if self._followed.get(channel_id) is progress:
                try:
                    await self._catch_up(channel_id, progress, presence)
                except StoreAway as away:
                    if self._presence() == presence:
                        self._failed(str(away))

    async def _catch_up(self, channel_id: str, progress: Progress, presence: int | None) -> None:
        progress.subscribed()
        await self._ask("SUBSCRIBE", self._prefix + channel_id)
        history = await self._read(channel_id, progress.position)
        if self._presence() == presence and self._followed.get(channel_id) is progress:
            if channel_id in self._outbox.collected:
                self._outbox.seal(force=True)
            progress.caught_up(history, self._outbox.number)

    def _lose(self, channel_ids: Iterable[str]) -> None:
        """
        Tell the followers of some channels that the shard is away. Give them the messages that the
        shard may have lost.
        """
        outbox, lost = self._outbox, set(channel_ids)
        if not lost.isdisjoint(outbox.collected):
            outbox.seal(force=True)
        unheard = outbox.unheard(lost)
        for channel_id in lost:
            progress = self._followed.get(channel_id)
            if progress is not None:
                progress.lost(unheard.get(channel_id, []), outbox.number + 1)


def _start(conversation: Coroutine[Deferred[Any], Any, None]) -> None:
    Deferred.fromCoroutine(conversation).addErrback(
        lambda failure: _log.failure("bug: a followed channel could not catch up", failure)
    )
