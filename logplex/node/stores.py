"""
The configuration store and the spool, chosen by the scheme of ``[store] url``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from random import random

from attrs import field, frozen

from logplex.configuration.redis.rods import SharedRods
from logplex.configuration.redis.store import RedisConfigStore
from logplex.configuration.sqlite import SqliteConfigStore
from logplex.interfaces import (
    IConfigStore,
    IReactor,
    IReplacement,
    IShareRods,
    ISpool,
    StoreUnusable,
)
from logplex.metrics import Counters, Sample
from logplex.model.rods import Position
from logplex.redis.address import RedisAddress
from logplex.redis.link import RedisLink
from logplex.settings import Settings, Store
from logplex.spool.cluster import CONNECT_TIMEOUT_S, make_redis_spool
from logplex.spool.memory import MemorySpool
from logplex.sqlite_file import IN_MEMORY, check_file, connection_pool

#: The directory for files of a node whose stores are in memory.
IN_MEMORY_DIRECTORY = "var"


#: A function that takes all control rods that are thrown for the cluster.
RodsTold = Callable[[Mapping[str, Position]], None]


def _nothing() -> list[str]:
    return []


@frozen
class Stores:
    """
    The configuration store and the spool of a node, made but not opened.

    :ivar name: a description for the log, without passwords.
    :ivar directory: for files of this node's owner; ``None`` if the store is shared with other
        nodes.
    :ivar samples: the numbers of both, a :data:`logplex.metrics.Source`.
    :ivar replacement: replaces the shards; ``None`` if there are none.
    :ivar share_rods: makes the object that throws control rods for all nodes, given the function to
        call with all thrown rods. Call it before the store is opened. ``None`` for a single node.
    :ivar troubles: the present failures, one line each, for the health check and the operator.
    """

    config: IConfigStore
    spool: ISpool
    name: str
    directory: Path | None
    samples: Callable[[], Iterable[Sample]]
    troubles: Callable[[], list[str]] = field(default=_nothing)
    replacement: IReplacement | None = None
    share_rods: Callable[[RodsTold], IShareRods] | None = None


def make_stores(settings: Settings, reactor: IReactor, counters: Counters) -> Stores:
    """
    Make the configuration store and the spool. ``config.open(registry)`` loads the configuration.

    :param reactor: runs the thread of SQLite and the connections to Redis, and is the clock.
    :raise StoreUnusable: a file that the settings name cannot be used, or two shards have one
        name.
    """
    scheme, _, path = settings.store.url.partition(":")
    if scheme in ("redis", "rediss"):
        return _shared(settings, reactor, counters)
    return _embedded(path, settings, reactor, counters)


def make_config_store(store: Store, reactor: IReactor) -> IConfigStore:
    """
    Make a configuration store alone, without a node around it.

    :raise StoreUnusable: its file cannot be used.
    """
    scheme, _, path = store.url.partition(":")
    if scheme in ("redis", "rediss"):
        return _redis(store, reactor)
    if path:
        check_file(path)
    return SqliteConfigStore(
        path or IN_MEMORY, connection_pool(path or IN_MEMORY, reactor), reactor
    )


def _redis(store: Store, reactor: IReactor) -> RedisConfigStore:
    address = RedisAddress.parse(store.url)
    endpoint = address.endpoint(reactor, CONNECT_TIMEOUT_S, store.ca_file)
    return RedisConfigStore(partial(RedisLink, address, endpoint, reactor, random), reactor)


def _embedded(path: str, settings: Settings, reactor: IReactor, counters: Counters) -> Stores:
    config = make_config_store(settings.store, reactor)
    spool = MemorySpool(settings.spool, reactor, counters)
    return Stores(
        config=config,
        spool=spool,
        name=f"SQLite file {path}" if path else "memory, nothing is kept",
        directory=Path(path).parent if path else Path(IN_MEMORY_DIRECTORY),
        samples=spool.samples,
    )


def _shared(settings: Settings, reactor: IReactor, counters: Counters) -> Stores:
    config = _redis(settings.store, reactor)
    try:
        spool = make_redis_spool(settings, reactor, counters)
    except ValueError as error:
        raise StoreUnusable(str(error)) from error

    def samples() -> Iterator[Sample]:
        yield from config.samples()
        yield from spool.samples()

    return Stores(
        config=config,
        spool=spool,
        name=f"{RedisAddress.parse(settings.store.url)}, shards: {len(settings.store.shards) or 1}",
        directory=None,
        samples=samples,
        share_rods=partial(SharedRods, config),
        troubles=lambda: [*config.troubles(), *spool.troubles()],
        replacement=spool.replacement,
    )
