# SPDX-License-Identifier: Apache-2.0

"""
The shared configuration: channels, tokens, drains, credentials, sessions and counters.

:func:`make_config_store` picks the implementation: a file of SQLite for a single node, or one Redis
for all nodes of a cluster.
"""

from __future__ import annotations

from logplex.configuration.redis.store import RedisConfigStore
from logplex.configuration.schema import check_file, connection_pool
from logplex.configuration.sqlite import SqliteConfigStore
from logplex.interfaces import IConfigStore, IReactor
from logplex.redis.primary import primary_at
from logplex.settings import Store
from logplex.settings.bounds import is_redis_url
from logplex.sqlite_file import IN_MEMORY


def make_config_store(store: Store, reactor: IReactor) -> IConfigStore:
    """
    Make the configuration store of the URL ``[store] url``. The store is not opened yet.

    :param reactor: runs the thread of SQLite and the connections to Redis, and is the clock.
    :raise StoreUnusable: a file that the settings name cannot be used.
    """
    if is_redis_url(store.url):
        primary = primary_at(store.url, reactor, store.ca_file)
        return RedisConfigStore(primary.connect, reactor)
    path = store.url.partition(":")[2]
    if path:
        check_file(path)
    path = path or IN_MEMORY
    return SqliteConfigStore(path, connection_pool(path, reactor), reactor)
