# SPDX-License-Identifier: Apache-2.0

"""
The shards of running nodes are replaced, while messages come and are followed.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from logplex.interfaces import Step, StoreAway, WrongStep
from tests.integration.process import reactor
from tests.integration.redis_server import RedisServer, free_port
from tests.integration.shards import Diary, ShardsTestCase, SpoolNode

CHANNELS = [f"app-{number}" for number in range(12)]


class ReplacementTests(ShardsTestCase):
    async def begin(self, *urls: str) -> None:
        """Two nodes on these shards, each following everything, and traffic for two seconds."""
        self.spools = await self.spool_nodes(2, *urls)
        self.diaries = {
            (channel_id, node.name): await self.follow(node, channel_id)
            for node in self.spools
            for channel_id in CHANNELS
        }
        self.running = Deferred.fromCoroutine(self.traffic(self.spools, CHANNELS, rounds=400))

    async def pause(self) -> None:
        await deferLater(reactor, 0.15)

    async def see_everything_told_once(self) -> None:
        await self.running
        await self.settled(self.spools)
        for (channel_id, _), diary in self.diaries.items():
            await self.told(diary, [text for node in self.spools for text in node.sent[channel_id]])
            self.assertEqual(diary.events, [])
            self.assert_in_order(diary, self.spools, channel_id)
            self.assertEqual(diary.numbers, sorted(set(diary.numbers)))
        for node in self.spools:
            self.assertEqual(node.counters.spool_dropped, 0)

    async def see_everything_kept(self) -> None:
        for node in self.spools:
            for channel_id in CHANNELS:
                recent = await node.spool.recent(channel_id)
                kept = [text for _, text in recent.entries]
                wanted = [text for each in self.spools for text in each.sent[channel_id]]
                self.assertEqual(sorted(kept), sorted(wanted))
                numbers = [number or 0 for number, _ in recent.entries]
                self.assertEqual(numbers, sorted(set(numbers)))

    async def replace(self, urls: Sequence[str]) -> None:
        """Take both nodes through the steps, one node after the other."""
        for node in self.spools:
            await node.spool.replacement.prepare(urls)
            await self.pause()
        for node in self.spools:
            await node.spool.replacement.commit()
            await self.pause()
        for node in self.spools:
            await node.spool.replacement.make_permanent()
            await self.pause()

    async def test_adding_a_shard(self) -> None:
        urls = [(await self.server()).url for _ in range(3)]
        await self.begin(*urls[:2])
        await self.pause()
        await self.replace(urls)
        await self.see_everything_told_once()
        await self.see_everything_kept()

    async def test_moving_a_shard_to_another_server(self) -> None:
        old, new, other = [await self.server() for _ in range(3)]
        await self.begin(old.url + "#a", other.url + "#b")
        await self.pause()
        await self.replace([new.url + "#a", other.url + "#b"])
        self.assertEqual(await self.clients(old), 1)
        await old.kill()
        await self.see_everything_told_once()

    async def test_going_there_and_back_keeps_numbers_growing(self) -> None:
        one, two = [(await self.server()).url for _ in range(2)]
        await self.begin(one)
        await self.pause()
        await self.replace([two])
        await self.pause()
        await self.replace([one])
        await self.see_everything_told_once()

    async def test_who_follows_meanwhile_misses_nothing(self) -> None:
        one, two = [(await self.server()).url for _ in range(2)]
        node = await self.spool_node(one)
        await node.spool.replacement.prepare([two])
        early = await self.follow(node, "c")
        node.append("c", 3)
        await self.settled([node])
        await node.spool.replacement.commit()
        late = await self.follow(node, "c")
        node.append("c", 2)
        await node.spool.replacement.make_permanent()
        await self.told(early, node.sent["c"])
        await self.told(late, node.sent["c"][3:])
        self.assertEqual(early.events + late.events, [])

    async def test_aborting_what_is_prepared(self) -> None:
        one, two = [await self.server() for _ in range(2)]
        await self.begin(one.url)
        for node in self.spools:
            await node.spool.replacement.prepare([two.url])
            await node.spool.replacement.abort()
        await self.see_everything_told_once()
        await self.see_everything_kept()
        self.assertEqual(await self.clients(two), 1)

    async def test_aborting_what_is_committed(self) -> None:
        one, two = [await self.server() for _ in range(2)]
        await self.begin(one.url)
        for node in self.spools:
            await node.spool.replacement.prepare([two.url])
        for node in self.spools:
            await node.spool.replacement.commit()
            await self.pause()
        for _ in range(2):
            for node in self.spools:
                await node.spool.replacement.abort()
                await self.pause()
        await self.see_everything_told_once()
        self.assertEqual(await self.clients(two), 1)

    async def test_a_new_shard_that_is_not_there_changes_nothing(self) -> None:
        one = await self.server()
        node = await self.spool_node(one.url)
        nowhere = f"redis://127.0.0.1:{free_port()}"
        await self.assertFailure(
            Deferred.fromCoroutine(node.spool.replacement.prepare([one.url, nowhere])), StoreAway
        )
        self.assertIs(node.spool.replacement.step, Step.SETTLED)
        diary = await self.follow(node, "c")
        node.append("c")
        await self.told(diary, node.sent["c"])

    async def test_who_follows_while_a_new_shard_is_waited_for_is_not_concerned(self) -> None:
        one = await self.server()
        node = await self.spool_node(one.url)
        nowhere = f"redis://127.0.0.1:{free_port()}"
        preparing = Deferred.fromCoroutine(node.spool.replacement.prepare([nowhere]))
        diary = await self.follow(node, "c")
        node.append("c")
        await self.told(diary, node.sent["c"])
        self.assertNoResult(preparing)
        await self.assertFailure(preparing, StoreAway)
        node.append("c")
        await self.told(diary, node.sent["c"])
        self.assertEqual(diary.events, [])

    async def test_steps_have_an_order(self) -> None:
        url = (await self.server()).url
        replacement = (await self.spool_node(url)).spool.replacement
        for step in (replacement.commit, replacement.make_permanent, replacement.abort):
            await self.assertFailure(Deferred.fromCoroutine(step()), WrongStep)
        await replacement.prepare([url])
        for again in (replacement.prepare([url]), replacement.make_permanent()):
            await self.assertFailure(Deferred.fromCoroutine(again), WrongStep)

    async def test_what_is_no_ring_changes_nothing(self) -> None:
        url = (await self.server()).url
        replacement = (await self.spool_node(url)).spool.replacement
        for urls in ([], ["http://here"], [url + "/x"], [url + "#a", url + "/1#a"]):
            await self.assertFailure(Deferred.fromCoroutine(replacement.prepare(urls)), ValueError)
            self.assertIs(replacement.step, Step.SETTLED)

    async def test_a_shard_under_another_url_is_no_new_one(self) -> None:
        url = (await self.server()).url
        replacement = (await self.spool_node(url)).spool.replacement
        for again in (url + "#again", url.replace("127.0.0.1", "localhost")):
            preparing = Deferred.fromCoroutine(replacement.prepare([again]))
            await self.assertFailure(preparing, ValueError)
        await replacement.prepare([url, url + "/1#another"])

    async def clients(self, server: RedisServer) -> int:
        """Return how many connections the server has, the test's own included."""
        listed: bytes = await server.ask("CLIENT", "LIST")
        return len(listed.splitlines())

    spools: list[SpoolNode]
    diaries: dict[tuple[str, str], Diary]
    running: Deferred[None]
