# SPDX-License-Identifier: Apache-2.0

"""
One shard of this node: its presence, the messages to write to it, and its followers.
"""

from __future__ import annotations

from contextlib import suppress

from attrs import frozen
from twisted.internet.defer import Deferred, TimeoutError, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from logplex.interfaces import StoreAway
from logplex.redis.connection import Refused
from logplex.spool.cluster.shard.follower import Following
from logplex.spool.cluster.shard.followers import Followers
from logplex.spool.cluster.shard.links import MakeLink, ShardLinks
from logplex.spool.cluster.shard.outbox import Outbox
from logplex.spool.cluster.shard.writer import ShardWriter, WritingTimes
from logplex.spool.cluster.wire.history import History
from logplex.spool.cluster.wire.scripts import Origin

_log = Logger()

#: After a shard that is connected could not take something.
_RETRY_DELAY_S = 1.0
#: Keys of a shard that are warned of; a cause that makes more of them is known by then.
_MOST_WARNINGS = 100
#: The longest time that a reader waits for messages that its own node has not written yet.
_OWN_WRITES_PATIENCE_S = 1.0


@frozen
class Identity:
    """
    The names by which a shard and this node are known.

    :ivar name: the name of the shard on the ring.
    :ivar url: the URL of the shard, with its password. Shards with different URLs differ even if
        their names are equal.
    :ivar db: the number of the database. The names of publications contain this number, because all
        databases of a Redis share these names.
    """

    name: str
    url: str
    db: int
    origin: Origin


class Shard:
    """
    One shard of the cluster, which is present or away.

    A shard is present if it takes batches, answers, and publishes to this node. While the shard is
    away, batches wait, followers get this node's own messages at once, and no history can be read.

    :ivar absences: the number of times that the shard went away.
    """

    def __init__(
        self,
        identity: Identity,
        connect: MakeLink,
        clock: IReactorTime,
        times: WritingTimes,
        outbox: Outbox,
    ) -> None:
        self.name = identity.name
        self.url = identity.url
        self.outbox = outbox
        self._origin = identity.origin
        self._db = identity.db
        self._run_id = b""
        self._clock = clock
        self.absences = 0
        self._comings = 0
        self._warnings = 0
        #: A number that grows each time the shard comes; ``None`` while it is away.
        self._presence: int | None = None
        self._when_present: list[Deferred[None]] = []
        self._retry: IDelayedCall | None = None
        #: Why it could not do what it was asked last.
        self._because = ""
        self._links = ShardLinks(
            connect, self._introduce, self._returned, self._lost, self._published
        )
        self._prefix = f"logplex:live:{identity.db}:"
        self.followers = Followers(
            self._origin,
            self._prefix,
            outbox,
            lambda: self._presence,
            ask=self._links.listen,
            read=self._history,
            written=self._own_writes,
            failed=self._stumbled,
        )
        #: Looked up for every channel of every chunk.
        self._followed = self.followers.channels
        self.writer = ShardWriter(
            outbox,
            self._origin,
            self._prefix,
            times,
            clock,
            run=self._links.write,
            followed=self._followed,
            failed=self._stumbled,
            replaced=self._replaced,
        )

    @property
    def present(self) -> bool:
        """True while the shard takes batches, answers, and publishes to this node."""
        return self._presence is not None

    @property
    def database(self) -> tuple[bytes, int] | None:
        """
        The Redis process and the number of the database to which the shard's URL leads; ``None`` if
        unknown. Two URLs can lead to one database.
        """
        return (self._run_id, self._db) if self._run_id else None

    @property
    def trouble(self) -> str | None:
        """
        The reason why the shard is away, for the health check and operators; ``None`` if the shard
        is present.
        """
        if self.present:
            return None
        return (
            self._links.trouble
            or f"shard {self.name} is away: {self._because or 'not introduced yet'}"
        )

    def start(self) -> None:
        """Connect to the shard, and connect again each time the connection is lost."""
        self._links.start()

    def when_present(self) -> Deferred[None]:
        """Fire as soon as the shard is present."""
        if self.present:
            return succeed(None)
        waiter: Deferred[None] = Deferred(self._when_present.remove)
        self._when_present.append(waiter)
        return waiter

    async def close(self, flush_s: float) -> None:
        """
        Write all waiting messages to the shard, and close the links.

        :param flush_s: the longest time for the writing, in seconds.
        """
        await self._within(flush_s, self.writer.everything_written())
        await self._links.stop()
        self.writer.stop()
        if self._retry is not None and self._retry.active():
            self._retry.cancel()

    def append(self, channel_id: str, messages: list[bytes], keep: bool) -> None:
        """See :meth:`logplex.interfaces.ISpool.append`."""
        if channel_id in self._followed:
            self.followers.received(channel_id, messages)
        self.writer.append(channel_id, messages, keep)

    async def history(self, channel_id: str) -> History | None:
        """
        Return all messages that the shard keeps of a channel; ``None`` if the shard is away. The
        waiting messages of this node are written to the shard before.
        """
        if self.followers.away_from(channel_id):
            return None
        await self._own_writes(channel_id)
        try:
            return await self._history(channel_id, after=0)
        except StoreAway:
            return None

    async def follow(self, channel_id: str, following: Following) -> None:
        """
        Follow a channel. The result fires when no later message can be missed, or if the shard is
        away.
        """
        reading = await self.followers.join(channel_id, following, after=None)
        if reading is not None:
            self.followers.joined(channel_id, reading)

    async def everything_heard(self) -> None:
        """
        Fire when all publications that the shard has sent so far have arrived, or if the shard is
        away.
        """
        with suppress(StoreAway):
            await self._links.listen("PING")

    # Presence.

    def _introduce(self) -> None:
        """Introduce this node to the shard, because the link for writing is connected."""
        Deferred.fromCoroutine(self._introduction()).addErrback(
            lambda failure: _log.failure("bug: shard {name}", failure, name=self.name)
        )

    async def _introduction(self) -> None:
        try:
            self._run_id, replaced = await self._links.introduce(self._prefix, self._origin)
        except (StoreAway, Refused) as error:
            self._stumbled(str(error))
        else:
            self._replaced(replaced)
            self.writer.open()
            self._returned()

    def _returned(self) -> None:
        """Mark the shard as present if all its links are connected and it takes batches."""
        if self.present or not self.writer.is_open:
            return
        if self._links.reading.connected and self._links.listening.connected:
            self._presence = self._comings = self._comings + 1
            self._because = ""
            self.followers.came()
            waiters, self._when_present = self._when_present, []
            for waiter in waiters:
                waiter.callback(None)

    def _lost(self) -> None:
        """Mark the shard as away, because a link is lost or a request has failed."""
        if not self._links.writing.connected:
            self.writer.shut()
        if self.present:
            self._presence = None
            self.absences += 1
            self.followers.went()

    def _stumbled(self, because: str) -> None:
        """Mark the shard as away, because a request has failed. Try the shard again soon."""
        if because != self._because:
            self._because = because
            _log.warn("shard {name}: {because}", name=self.name, because=because)
        self._lost()
        if self._retry is None or not self._retry.active():
            self._retry = self._clock.callLater(_RETRY_DELAY_S, self._try_again)

    def _try_again(self) -> None:
        if self._links.writing.connected and not self.writer.is_open:
            self._introduce()
        else:
            self._returned()

    # What is said.

    def _published(self, name: bytes, data: bytes) -> None:
        self.followers.published(name, data)

    def _replaced(self, keys: list[str]) -> None:
        """Log the keys of Redis that were replaced because they had another type."""
        self.outbox.counters.spool_keys_replaced += len(keys)
        for key in keys:
            if self._warnings < _MOST_WARNINGS:
                self._warnings += 1
                _log.warn(
                    "shard {name}: the key {key!r} held something else and was replaced",
                    name=self.name,
                    key=key,
                )

    async def _history(self, channel_id: str, after: int | None) -> History:
        return await self._links.read(channel_id, self._origin, after)

    async def _own_writes(self, channel_id: str) -> None:
        await self._within(_OWN_WRITES_PATIENCE_S, self.writer.written(channel_id))

    async def _within(self, seconds: float, wanted: Deferred[None]) -> None:
        """Wait for a result, at most this number of seconds."""
        with suppress(TimeoutError):
            await wanted.addTimeout(seconds, self._clock)
