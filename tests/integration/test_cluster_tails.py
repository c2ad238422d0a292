# SPDX-License-Identifier: Apache-2.0

"""
Three real nodes on three real shards, under load: what tails show, whoever received the messages.
"""

from __future__ import annotations

import random

from tests.integration.cluster import CHANNELS, MESSAGES, STEPS, ClusterTestCase
from tests.integration.process import until
from tests.integration.readers import Reader


class ClusterTailTests(ClusterTestCase):
    """Everything works."""

    async def test_every_reader_on_every_node_sees_the_same(self) -> None:
        chance = random.Random(4)
        await self.cluster()
        whole = [
            await self.reader(chance.choice(self.nodes), channel_id, num=0)
            for channel_id in CHANNELS
        ]
        openings = sorted(chance.randrange(STEPS - 20) for _ in range(24))
        cuts = [chance.randrange(20, STEPS) for _ in range(40)]
        readers: list[tuple[int, Reader, int]] = []
        step = 0
        async for sent in self.flood():
            for place in range(openings.count(step)):
                channel = chance.randrange(len(CHANNELS))
                node = chance.choice(self.nodes)
                events = (step + place) % 2 == 0
                reader = await self.reader(node, CHANNELS[channel], 300, events)
                readers.append((channel, reader, sent))
            resumable = [reader for _, reader, _ in readers if reader.events]
            for _ in range(cuts.count(step) if resumable else 0):
                await chance.choice(resumable).cut(chance.choice(self.nodes))
            step += 1
        await self.accounted_for(MESSAGES)
        orders = []
        for channel, reader in enumerate(whole):
            wanted = set(range(channel, MESSAGES, len(CHANNELS)))

            async def complete(reader: Reader = reader, count: int = len(wanted)) -> bool:
                return reader.connection.body.count(b"number=") >= count

            await until(complete, "a reader from the beginning sees everything")
            orders.append(reader.numbers())
            self.assertEqual(len(orders[-1]), len(wanted))
            self.assertEqual(set(orders[-1]), wanted)
        for channel, reader, sent in readers:
            await self.ended_on(reader, orders[channel][-1])
            shown = reader.numbers()
            self.assertEqual(orders[channel][-len(shown) :], shown)
            self.assertGreaterEqual(len(shown), (MESSAGES - sent) // len(CHANNELS))
            # There is room enough for all (L11). And a node that is busy itself is patient with its
            # shards (L15): it counts how often it has looked for an answer, not seconds.
            self.assertNotIn(b"Error L1", bytes(reader.shown) + bytes(reader.connection.body))
        for reader in [*whole, *(each for _, each, _ in readers)]:
            reader.close()

    async def test_shards_are_replaced_under_load(self) -> None:
        await self.cluster()
        new = await self.server()
        urls = [f"{new.url}#d", *self.urls[1:]]
        readers = {
            channel_id: [await self.reader(self.nodes[place % 3], channel_id, num=0)]
            for place, channel_id in enumerate(CHANNELS)
        }
        steps: list[dict[str, object]] = [
            {"step": "prepare", "urls": urls},
            {"step": "commit"},
            {"step": "make_permanent"},
        ]
        step = 0
        async for _ in self.flood(messages=STEPS * 18, pause_s=0.02):
            step += 1
            if step % 30 == 0 and steps:
                body = steps.pop(0)
                for node in self.nodes:
                    answer = await node.request("POST", "/v3/shards", body)
                    self.assertEqual(answer.status, 200, answer.body)
        await self.shards[0].kill()
        await self.accounted_for(STEPS * 18)
        self.assertEqual(self.account[2], 0)
        await self.see_out(readers, STEPS * 18)
        for channel, channel_id in enumerate(CHANNELS):
            wanted = list(range(channel, STEPS * 18, len(CHANNELS)))
            for reader in readers[channel_id]:
                self.assertEqual(self.shown(reader, STEPS * 18), wanted)
                self.assertNotIn(b"logplex[1]", bytes(reader.connection.body))
                reader.close()
