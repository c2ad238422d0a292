"""
What this node listens to on one shard: a feed per channel, subscribed as long as it has listeners.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterator, KeysView
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from logplex.interfaces import StoreAway
from logplex.spool.cluster.shard.feed import Feed, Waiting
from logplex.spool.cluster.shard.follower import Listener
from logplex.spool.cluster.shard.outbox import Outbox
from logplex.spool.cluster.wire.history import History
from logplex.spool.cluster.wire.scripts import Origin, parse_published

_log = Logger()

#: Feeds whose histories are read at a time when a shard comes back.
_RESUMED_AT_A_TIME = 8


class ShardFeeds:
    """
    The feeds of one shard.

    :param prefix: of the names of live channels.
    :param ask: gives a command over the connection that is subscribed.
    :param read: reads a channel's sequence and its entries after a number; none after ``None``.
    :param failed: told why the shard could not be asked although it is said to be there.
    """

    def __init__(
        self,
        origin: Origin,
        prefix: str,
        outbox: Outbox,
        ask: Callable[..., Deferred[Any]],
        read: Callable[[str, int | None], Awaitable[History]],
        failed: Callable[[str], None],
    ) -> None:
        self._origin = origin
        self._prefix = prefix
        self._outbox = outbox
        self._ask = ask
        self._read = read
        self._failed = failed
        self._feeds: dict[str, Feed] = {}
        self._present = False
        #: Counts the times the shard came.
        self._presence = 0

    @property
    def channels(self) -> KeysView[str]:
        """What is listened to, now and whenever it is looked at."""
        return self._feeds.keys()

    def came(self) -> None:
        """The shard is present: let all feeds catch up."""
        self._present = True
        self._presence += 1
        feeds = iter(list(self._feeds.values()))
        for _ in range(min(_RESUMED_AT_A_TIME, len(self._feeds))):
            _start(self._resume(feeds, self._presence))

    def went(self) -> None:
        """The shard is away."""
        self._present = False
        waiting, begin = self._waiting(list(self._feeds))
        for channel_id, feed in list(self._feeds.items()):
            feed.lost(waiting.get(channel_id, []), begin)

    def received(self, channel_id: str, messages: list[bytes]) -> None:
        """This node has received messages of a channel, and will hand them to the shard."""
        feed = self._feeds.get(channel_id)
        if feed is not None and feed.away:
            feed.received(messages)

    def published(self, name: bytes, data: bytes) -> None:
        """The shard has published something under this name."""
        feed = self._feeds.get(name.decode("utf-8", "replace").removeprefix(self._prefix))
        if feed is None:
            return
        try:
            published = parse_published(data)
        except ValueError as error:
            _log.warn("somebody published what is no batch: {error}", error=str(error))
            return
        feed.published(published)

    def away_from(self, channel_id: str) -> bool:
        """Whether the channel's followers are, or would be, told of an interruption."""
        feed = self._feeds.get(channel_id)
        return not self._present if feed is None else feed.away

    async def follow(self, channel_id: str, listener: Listener) -> None:
        """
        Tell this listener of the channel. Done when nothing can be missed any more, or the listener
        was told of an interruption.
        """
        feed = self._feeds.get(channel_id)
        if feed is None:
            feed = self._feeds[channel_id] = Feed(channel_id, self._origin, not self._present)
        if feed.away:
            waiting, begin = self._waiting([channel_id])
            feed.add(listener, waiting.get(channel_id, []), begin)
        else:
            feed.add(listener)
            try:
                await self._ask("SUBSCRIBE", self._prefix + channel_id)
                history = await self._read(channel_id, None)
            except StoreAway as away:
                self._failed(str(away))
            else:
                feed.joined(listener, history.last, history.own_batch)

    def unfollow(self, channel_id: str, listener: Listener, unwritten: bool = False) -> None:
        """Tell it no more; see :meth:`Feed.remove`."""
        feed = self._feeds.get(channel_id)
        if feed is None:
            return
        feed.remove(listener, unwritten)
        if feed.empty:
            del self._feeds[channel_id]
            # Where this fails the subscription ends with its connection.
            self._ask("UNSUBSCRIBE", self._prefix + channel_id).addErrback(lambda _: None)

    async def _resume(self, feeds: Iterator[Feed], presence: int) -> None:
        """Let these feeds catch up, one after the other, as long as the shard stays."""
        for feed in feeds:
            if not self._still(presence):
                return
            if self._feeds.get(feed.channel_id) is feed:
                try:
                    await self._catch_up(feed, presence)
                except StoreAway as away:
                    if self._still(presence):
                        self._failed(str(away))

    async def _catch_up(self, feed: Feed, presence: int) -> None:
        channel_id = feed.channel_id
        feed.subscribed()
        await self._ask("SUBSCRIBE", self._prefix + channel_id)
        history = await self._read(channel_id, feed.position)
        if self._still(presence):
            if channel_id in self._outbox.collected:
                self._outbox.seal(force=True)
            feed.caught_up(history, self._outbox.number)

    def _still(self, presence: int) -> bool:
        return self._present and self._presence == presence

    def _waiting(self, channel_ids: list[str]) -> tuple[dict[str, list[Waiting]], int]:
        """What the shard has perhaps not taken of these channels, and its first batch of any."""
        outbox = self._outbox
        if any(channel_id in outbox.collected for channel_id in channel_ids):
            outbox.seal(force=True)
        return outbox.untaken(set(channel_ids)), outbox.first_untaken


def _start(conversation: Coroutine[Deferred[Any], Any, None]) -> None:
    Deferred.fromCoroutine(conversation).addErrback(
        lambda failure: _log.failure("bug: a shard's feed could not catch up", failure)
    )
