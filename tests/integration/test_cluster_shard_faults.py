# SPDX-License-Identifier: Apache-2.0

"""
Three real nodes on three real shards, under load: what becomes of messages when a Redis is stopped,
killed, and comes back empty.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol

from tests.integration.cluster import CHANNELS, STEPS, ClusterTestCase
from tests.integration.node import Node
from tests.integration.process import reactor, until
from tests.integration.readers import Reader
from tests.integration.receivers import HttpReceiver
from tests.integration.senders import numbered, numbers_in, octet_counted


class ClusterTroubleTests(ClusterTestCase):
    """One Redis after the other does not behave."""

    async def troubled(self, events: Sequence[tuple[int, str]]) -> dict[str, list[Reader]]:
        """
        Let all channels be tailed on all nodes, and do things to the first shard meanwhile.

        :param events: at which step, and what.
        """
        await self.cluster()
        drained = next(each for each in CHANNELS if self.homes[each] is self.shards[0])
        receiver = await self.drain(drained)
        readers = await self.readers_everywhere()
        step = 0
        async for _ in self.flood(messages=STEPS * 18, pause_s=0.05):
            for at, what in events:
                if at == step:
                    if what in ("start", "resume"):
                        await self.all_told(readers)
                    await self.happen(what)
            step += 1
        await self.accounted_for(STEPS * 18)
        self.assertEqual(self.account[2], 0)
        await self.see_out(readers, STEPS * 18)
        for channel_id, several in readers.items():
            for node, reader in zip(self.nodes, several, strict=True):
                told = reader.connection.body.count(b"Error L15")
                # Once each time that the channel's own shard went away, and never for another.
                self.assertLessEqual(told, await self.absences(node, channel_id))
        # A drain notices nothing.
        wanted = list(range(CHANNELS.index(drained), STEPS * 18, len(CHANNELS)))
        numbers = numbers_in(await receiver.received(len(wanted) + len(self.nodes)))
        self.assertEqual(sorted(n for n in numbers if n < STEPS * 18), wanted)
        return readers

    async def drain(self, channel_id: str) -> HttpReceiver:
        """A receiver of this channel's messages from every node."""
        receiver = self.receiver(HttpReceiver())
        path = f"/v3/channels/{channel_id}"
        added = await self.nodes[0].request("POST", f"{path}/drains", {"url": receiver.url})
        self.assertEqual(added.status, 201)
        for node in self.nodes:

            async def known(node: Node = node) -> bool:
                return "drains" in (await node.request("GET", path)).json()

            await until(known, "every node knows the drain")
        return receiver

    async def all_told(self, readers: Mapping[str, Sequence[Reader]]) -> None:
        """Wait until all readers of the first shard's channels are told that it is away."""
        concerned = [
            reader.connection
            for channel_id, several in readers.items()
            for reader in several
            if self.homes[channel_id] is self.shards[0]
        ]

        async def look() -> bool:
            return all(b"Error L15" in connection.body for connection in concerned)

        await until(look, "all readers are told")

    async def absences(self, node: Node, channel_id: str) -> float:
        """Return how often a node has missed a channel's shard."""
        name = self.placement.shard_of(channel_id)
        return (await node.metrics())[f'logplex_shard_absences_total{{shard="{name}"}}']

    async def happen(self, what: str) -> None:
        server = self.shards[0]
        if what == "kill":
            await server.kill()
        elif what == "start":
            await server.start()
        elif what == "pause":
            server.pause()
            self.addCleanup(server.resume)
        else:
            server.resume()

    async def test_a_shard_that_stands_still_costs_no_reader_a_message(self) -> None:
        readers = await self.troubled([(20, "pause"), (70, "resume")])
        for channel, channel_id in enumerate(CHANNELS):
            wanted = list(range(channel, STEPS * 18, len(CHANNELS)))
            for reader in readers[channel_id]:
                self.assertEqual(self.shown(reader, STEPS * 18), wanted)
                reader.close()

    async def test_a_shard_that_is_killed_costs_only_what_was_on_it(self) -> None:
        readers = await self.troubled([(20, "kill"), (50, "start")])
        for channel, channel_id in enumerate(CHANNELS):
            wanted = set(range(channel, STEPS * 18, len(CHANNELS)))
            for node, reader in enumerate(readers[channel_id]):
                missing = wanted - set(self.shown(reader, STEPS * 18))
                if self.homes[channel_id] is self.shards[0]:
                    # A step is three shares of six messages; each node's own is never missing.
                    self.assertEqual([n for n in missing if n // 6 % 3 == node], [])
                else:
                    self.assertEqual(missing, set())
                if missing:
                    self.assertIn(b"may be missing", bytes(reader.connection.body))
                reader.close()

    async def test_the_config_redis_is_missed_by_no_reader(self) -> None:
        await self.cluster()
        readers = await self.readers_everywhere()
        step = 0
        async for _ in self.flood(messages=STEPS * 18, pause_s=0.02):
            step += 1
            if step == 20:
                await self.config.kill()
            elif step == 50:
                await self.config.start()
            elif step == 80:
                self.config.pause()
                self.addCleanup(self.config.resume)
            elif step == 110:
                self.config.resume()
            if step in (20, 50, 80, 110):
                for node in self.nodes:
                    await self.shows(node, "logplex_store_connected", float(step in (50, 110)))
        await self.accounted_for(STEPS * 18)
        self.assertEqual(self.account[2], 0)
        await self.see_out(readers, STEPS * 18)
        for channel, channel_id in enumerate(CHANNELS):
            wanted = list(range(channel, STEPS * 18, len(CHANNELS)))
            for reader in readers[channel_id]:
                self.assertEqual(self.shown(reader, STEPS * 18), wanted)
                self.assertNotIn(b"logplex[1]", bytes(reader.connection.body))
                reader.close()

    async def test_who_comes_while_a_shard_is_away(self) -> None:
        await self.cluster()
        channel_id, token = CHANNELS[0], self.tokens[0]
        sending: list[Any] = []
        for node in self.nodes[:2]:
            endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", node.ports["syslog"])
            sending.append(await connectProtocol(endpoint, Protocol()))

        def send(place: int, *numbers: int) -> None:
            sending[place].transport.write(octet_counted(numbered(token, list(numbers))))

        await self.homes[channel_id].kill()
        readers = [await self.reader(self.nodes[0], channel_id, num=100)]
        send(0, 0, 1, 2)
        send(1, 3, 4, 5)
        await self.ended_on(readers[0], 2)
        readers.append(await self.reader(self.nodes[0], channel_id, num=2))
        readers.append(await self.reader(self.nodes[0], channel_id, num=100, events=True))
        send(0, 6)
        for reader, wanted in zip(readers, ([0, 1, 2, 6], [1, 2, 6], [0, 1, 2, 6]), strict=True):
            await self.ended_on(reader, 6)
            self.assertEqual(reader.numbers(), wanted)
            head = reader.connection.head
            self.assertTrue(head.startswith(b"HTTP/1.1 200 "), head)
            self.assertIn(b"Warning: log history temporarily unavailable.", head)
        await self.homes[channel_id].start()
        await self.accounted_for(7)
        send(1, 7)
        send(0, 8)
        for reader in readers:
            for number in (7, 8):
                await self.ended_on(reader, number)
            numbers = reader.numbers()
            self.assertEqual(len(numbers), len(set(numbers)), "shown twice")
            shown = bytes(reader.connection.body)
            self.assertEqual(
                re.findall(rb"Error L15|may be missing", shown), [b"Error L15", b"may be missing"]
            )
            reader.close()
        for each in sending:
            each.transport.loseConnection()
