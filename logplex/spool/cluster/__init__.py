# SPDX-License-Identifier: Apache-2.0

"""The spool of a cluster, made from the settings: shards that are connected to Redis."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from random import random

from logplex.interfaces import IReactor
from logplex.metrics import Counters
from logplex.redis.link import RedisLink
from logplex.redis.primary import primary_at
from logplex.settings import Settings
from logplex.spool.cluster.ring import shard_name
from logplex.spool.cluster.shard.outbox import Outbox, OutboxBounds
from logplex.spool.cluster.shard.shard import Identity, Shard
from logplex.spool.cluster.shard.writer import WritingTimes
from logplex.spool.cluster.spool import ClusterSpool
from logplex.spool.cluster.topology import Shards
from logplex.spool.cluster.wire.scripts import Origin


def make_cluster_spool(
    settings: Settings,
    reactor: IReactor,
    counters: Counters,
    jitter: Callable[[], float] = random,
) -> ClusterSpool:
    """
    Make a spool on the shards of ``[store] shards``, or on the one Redis of ``[store] url``.

    :raises ValueError: two shards have one name.
    :raises StoreUnusable: ``[store] ca_file`` cannot be read.
    """
    spool, store = settings.spool, settings.store
    bounds = OutboxBounds(
        waiting_batches=spool.waiting_batches,
        waiting_bytes=spool.waiting_bytes,
        kept=spool.messages,
    )
    times = WritingTimes(
        tick_s=spool.tick_s,
        followed_tick_s=spool.followed_tick_s,
        retention_s=spool.retention_s,
        tick_max_s=spool.tick_max_s,
    )
    now_us = int(reactor.seconds() * 1_000_000)
    # A life of its own for every start, even where two nodes have been given one name.
    start = b"%016d-%08x" % (now_us, int(jitter() * 0x100000000))
    origin = Origin(settings.node.name.encode(), start)
    numbers = count(1)

    def make_shard(url: str) -> Shard:
        primary = primary_at(url, reactor, store.ca_file, jitter)
        name = shard_name(url)

        def connect(
            purpose: str,
            up: Callable[[], None],
            down: Callable[[], None],
            received: Callable[[bytes, bytes], None] | None = None,
        ) -> RedisLink:
            return primary.connect(
                name=f"shard {name}, {purpose}", up=up, down=down, received=received
            )

        identity = Identity(name, url, primary.address.db, origin)
        return Shard(identity, connect, reactor, times, Outbox(bounds, counters, numbers))

    urls = store.shards or (store.url,)
    return ClusterSpool(Shards(urls, make_shard), reactor, spool.messages)
