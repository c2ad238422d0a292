"""
The newest messages of each channel, numbered.

:func:`make_spool` picks the implementation: in the memory of a single node, or on the shards of a
cluster.
"""

from __future__ import annotations

from logplex.interfaces import IReactor, ISpool, StoreUnusable
from logplex.metrics import Counters
from logplex.settings import Settings
from logplex.settings.bounds import is_redis_url
from logplex.spool.cluster import make_cluster_spool
from logplex.spool.memory import MemorySpool


def make_spool(settings: Settings, reactor: IReactor, counters: Counters) -> ISpool:
    """
    Make the spool for the settings in ``[store]``.

    :param reactor: makes the connections to Redis, and is the clock.
    :raise StoreUnusable: a file that the settings name cannot be used, or two shards have one
        name.
    """
    if not is_redis_url(settings.store.url):
        return MemorySpool(settings.spool, reactor, counters)
    try:
        return make_cluster_spool(settings, reactor, counters)
    except ValueError as error:
        raise StoreUnusable(str(error)) from error
