# SPDX-License-Identifier: Apache-2.0

"""
A Redis that answers, but is not the primary any more, and one that closes idle connections.
"""

from __future__ import annotations

from random import random

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from zope.interface import implementer

from logplex.configuration.redis.store import RedisConfigStore
from logplex.interfaces import StoreAway
from logplex.model.values import Channel, Put
from logplex.redis.address import RedisAddress
from logplex.redis.link import LinkBounds, RedisLink
from logplex.redis.primary import Primary
from tests.contracts.configuration import Replica
from tests.integration.process import reactor, until, within
from tests.integration.redis_server import BUNDLED, INSTALLED, RedisServer
from tests.integration.shards import ShardsTestCase


@implementer(IStreamClientEndpoint)
class Name:
    """A name that can move from one server to another."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        address = RedisAddress("127.0.0.1", self.server.port)
        connecting: Deferred[IProtocol] = address.endpoint(reactor, 3.0).connect(protocolFactory)
        return connecting


class PrimaryTests(ShardsTestCase):
    """On real servers."""

    skip = None if INSTALLED or BUNDLED else "there is no redis-server"

    async def store(self, name: Name) -> tuple[RedisConfigStore, Replica]:
        primary = Primary(RedisAddress("redis.example"), name, reactor, random)
        store, replica = RedisConfigStore(primary.connect, reactor), Replica()
        self.addCleanup(store.close)
        await store.open(replica)
        return store, replica

    async def writes(self, store: RedisConfigStore, channel_id: str) -> None:
        """Wait until the store takes a change."""

        async def look() -> bool:
            try:
                await store.commit([Put(Channel(channel_id))])
            except StoreAway:
                return False
            return True

        await until(look, f"{channel_id} is written", seconds=10.0)

    async def test_a_name_that_moves_is_followed(self) -> None:
        """The old server becomes a replica of the new one, and keeps its connections."""
        old, new = await self.server(), await self.server()
        name = Name(old)
        store, replica = await self.store(name)
        await self.writes(store, "before")
        await new.ask("HSET", "ch:before:data", "name", "")
        await old.ask("REPLICAOF", "127.0.0.1", new.port)
        name.server = new
        await self.writes(store, "after")
        self.assertTrue(await new.ask("EXISTS", "ch:after:data"))
        # The connection with subscriptions has moved too.
        await new.ask("HSET", "ch:operator:data", "name", "")

        async def knows() -> bool:
            return Channel("operator") in replica.known()

        await until(knows, "changes on the new server are told")
        self.assertEqual(store.troubles(), [])

    async def test_an_idle_node_finds_the_new_primary_too(self) -> None:
        """Nothing is written that could be refused."""
        old, new = await self.server(), await self.server()
        name = Name(old)
        store, replica = await self.store(name)
        await new.ask("HSET", "ch:new:data", "name", "")
        await old.ask("REPLICAOF", "127.0.0.1", new.port)
        name.server = new

        async def knows() -> bool:
            return Channel("new") in replica.known() and not store.troubles()

        await until(knows, "the new server is read", seconds=10.0)

    async def test_a_shard_that_becomes_a_replica_is_given_up(self) -> None:
        shard, other = await self.server(), await self.server()
        node = await self.spool_node(f"redis://127.0.0.1:{shard.port}")
        node.append("c")
        await self.settled([node])
        await shard.ask("REPLICAOF", "127.0.0.1", other.port)
        node.append("c")

        async def tells() -> bool:
            return "it is not the primary" in " ".join(node.spool.troubles())

        await until(tells, "the shard is a replica")
        await shard.ask("REPLICAOF", "NO", "ONE")
        await self.settled([node])
        self.assertEqual(node.counters.spool_written, 2)

    async def test_a_server_that_closes_idle_connections_stays_connected(self) -> None:
        server = await self.server("--timeout", "1")
        store, _ = await self.store(Name(server))
        node = await self.spool_node(f"redis://127.0.0.1:{server.port}")
        diary = await self.follow(node, "c")
        closed: Deferred[None] = Deferred()
        address = RedisAddress("127.0.0.1", server.port)

        def down() -> None:
            if not closed.called:
                closed.callback(None)

        silent = RedisLink(
            address,
            address.endpoint(reactor, 3.0),
            reactor,
            random,
            name="silent",
            down=down,
            bounds=LinkBounds(ping_interval_s=1_000.0),
        )
        silent.start()
        self.addCleanup(silent.stop)
        await within(closed, "a connection that asks for nothing is closed")
        self.assertEqual((store.troubles(), node.spool.troubles(), diary.events), ([], [], []))
        samples = {each.name: each.value for each in node.spool.samples()}
        self.assertEqual(samples["logplex_shard_absences"], 0)
