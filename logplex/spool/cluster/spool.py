# SPDX-License-Identifier: Apache-2.0

"""
The spool of a cluster: the newest messages of every channel, on one of several Redis shards.

Nodes share nothing except the shards. The ring tells each node the shard of a channel.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from logplex.interfaces import IFollower, ISpool, Recent
from logplex.metrics import Sample
from logplex.spool.cluster.recent import read_joining, read_recent
from logplex.spool.cluster.replacement import FLUSH_S, Replacement
from logplex.spool.cluster.shard.follower import Following
from logplex.spool.cluster.shard.shard import Shard
from logplex.spool.cluster.topology import Shards, doubles
from logplex.waiting import together

_log = Logger()


@implementer(ISpool)
class ClusterSpool:
    """
    A spool on Redis shards; see :class:`ISpool`. It connects as soon as the reactor runs.

    :param kept: the number of messages of a channel that are kept.
    :ivar replacement: the steps by which operators replace the shards.
    """

    def __init__(self, shards: Shards, clock: IReactorTime, kept: int) -> None:
        self._shards = shards
        self._kept = kept
        self._clock = clock
        #: The channels that are followed here.
        self._followings: dict[str, Following] = {}
        self._starting = clock.callLater(0, self._start)
        self.replacement = Replacement(shards, self._followings, clock)

    @property
    def name(self) -> str:
        """See :class:`ISpool`."""
        return f"shards: {len(self._shards.topology.all())}"

    def append(self, channel_id: str, messages: list[bytes], keep: bool = True) -> None:
        """See :class:`ISpool`."""
        if messages:
            self._shards.home(channel_id).append(channel_id, messages, keep)

    def recent(self, channel_id: str) -> Deferred[Recent]:
        """See :class:`ISpool`."""
        return Deferred.fromCoroutine(
            read_recent(self._shards, channel_id, self._kept, self._clock)
        )

    def join(self, channel_id: str, follower: IFollower) -> Deferred[Recent]:
        """See :class:`ISpool`."""
        return Deferred.fromCoroutine(self._join(channel_id, follower))

    def leave(self, channel_id: str, follower: IFollower) -> None:
        """See :class:`ISpool`."""
        following = self._followings.get(channel_id)
        if following is not None:
            following.leave(follower)
            self._end_if_unused(channel_id, following)

    async def _join(self, channel_id: str, follower: IFollower) -> Recent:
        following = self._followings.get(channel_id)
        if following is None:
            following = self._followings[channel_id] = Following()
        following.begin(follower)
        try:
            recent = await read_joining(
                self._shards, channel_id, following, self._kept, self._clock
            )
        except BaseException:
            following.abandon(follower)
            raise
        else:
            following.finish(follower)
        finally:
            self._end_if_unused(channel_id, following)
        return recent

    def _end_if_unused(self, channel_id: str, following: Following) -> None:
        if following.is_unused and self._followings.get(channel_id) is following:
            del self._followings[channel_id]
            for shard in self._shards.topology.homes(channel_id):
                shard.followers.leave(channel_id)

    def forget(self, channel_id: str) -> None:
        """See :class:`ISpool`."""
        for shard in self._shards.topology.all():
            shard.writer.forget(channel_id)

    def close(self) -> Deferred[None]:
        """See :class:`ISpool`."""
        if self._starting.active():
            self._starting.cancel()
        closing = together(shard.close(FLUSH_S) for shard in self._shards.topology.all())
        return closing.addCallback(lambda _: None)

    def when_present(self) -> Deferred[None]:
        """Fire as soon as every shard has been reached."""
        reached = gatherResults([shard.when_present() for shard in self._shards.topology.all()])
        return reached.addCallback(lambda _: None)

    def troubles(self) -> list[str]:
        """See :class:`ISpool`."""
        away = [shard.trouble for shard in self._shards.topology.all() if shard.trouble]
        return away + self._doubles()

    def samples(self) -> Iterable[Sample]:
        """See :class:`ISpool`."""
        for shard in self._shards.topology.all():
            yield from _samples(shard)

    def _start(self) -> None:
        for shard in self._shards.topology.all():
            shard.start()
        self.when_present().addCallback(self._warn)

    def _warn(self, _: None) -> None:
        for trouble in self._doubles():
            _log.warn("{trouble}", trouble=trouble)

    def _doubles(self) -> list[str]:
        return [
            f"shards {one.name!r} and {other.name!r} are the same Redis database: messages can be"
            " lost"
            for one, other in doubles(self._shards.topology.all())
        ]


def _samples(shard: Shard) -> Iterator[Sample]:
    labels, outbox = {"shard": shard.name}, shard.outbox
    for name, help, value in (
        ("logplex_shard_present", "Whether the shard is there: 1, else 0", int(shard.present)),
        (
            "logplex_shard_waiting_messages",
            "Messages that wait to be written",
            outbox.waiting_messages,
        ),
        (
            "logplex_shard_waiting_batches",
            "Batches that wait to be written",
            outbox.waiting_batches,
        ),
        (
            "logplex_shard_followed_channels",
            "Channels that this node listens to",
            len(shard.followers.channels),
        ),
    ):
        yield Sample(name, help, value, labels)
    yield Sample(
        "logplex_shard_absences",
        "How often the shard went away",
        shard.absences,
        labels,
        CounterMetricFamily,
    )
