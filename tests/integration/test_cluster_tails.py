"""
Three real nodes on three real shards, under load: what tails show, whoever received the messages,
and whatever becomes of a shard.
"""

from __future__ import annotations

import random
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater

from logplex.store.shards.ring import consistent
from tests.integration.cases import IntegrationTestCase
from tests.integration.node import CREDENTIAL, Node
from tests.integration.process import reactor, until
from tests.integration.readers import Reader, session
from tests.integration.redis_server import BUNDLED, INSTALLED, RedisServer
from tests.integration.senders import numbered, octet_counted, post

CHANNELS = [f"app-{number}" for number in range(6)]
MESSAGES = 30_000
STEPS = 125

#: However late this process reads, it is no reason for a node to drop what a reader has missed.
_ROOM: dict[str, dict[str, Any]] = {
    "limits": {"tail_buffer_messages": MESSAGES, "tail_buffer_bytes": 1_000 * MESSAGES},
    "spool": {"messages": MESSAGES},
}


class ClusterTailTests(IntegrationTestCase):
    executable = INSTALLED or BUNDLED
    timeout = 300

    async def server(self) -> RedisServer:
        assert self.executable is not None
        server = RedisServer(self.directory(), self.executable)
        self.addCleanup(server.kill)
        await server.start()
        return server

    async def cluster(self) -> None:
        """
        Three nodes that know some channels, on a config Redis and three shards, all of which keep
        some.
        """
        self.config = await self.server()
        self.shards = [await self.server() for _ in range(3)]
        # With names of their own the shards have the same channels at every run.
        self.urls = [f"{each.url}#{name}" for each, name in zip(self.shards, "abc", strict=True)]
        self.placement = consistent(self.urls)
        homes = {each: "abc".index(self.placement.shard_of(each)) for each in CHANNELS}
        self.assertEqual(set(homes.values()), {0, 1, 2})
        self.homes = {channel_id: self.shards[place] for channel_id, place in homes.items()}
        store = {"url": self.config.url, "shards": self.urls}
        self.nodes = [
            await self.node({"store": store, "node": {"name": f"node-{number}"}, **_ROOM})
            for number in range(3)
        ]
        self.tokens = [await self.nodes[0].channel(channel_id) for channel_id in CHANNELS]
        for node in self.nodes:
            await until(partial(self.knows, node), "every node knows the channels")

    async def knows(self, node: Node) -> bool:
        answer = await node.request("GET", f"/v3/channels/{CHANNELS[-1]}")
        return answer.status == 200

    async def flood(self, messages: int = MESSAGES, pause_s: float = 0.0) -> AsyncIterator[int]:
        """
        Send numbered messages to all nodes, over TCP and by POST; number n goes to channel n
        modulo their count.

        :return: after each step, how many messages were sent.
        """
        sending: list[Any] = []
        for node in self.nodes:
            endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", node.ports["syslog"])
            sending.append(await connectProtocol(endpoint, Protocol()))
        share = messages // STEPS // len(self.nodes)
        sent = 0
        for step in range(STEPS):
            for place, node in enumerate(self.nodes):
                pieces = [
                    numbered(self.tokens[number % len(CHANNELS)], [number])[0]
                    for number in range(sent, sent + share)
                ]
                sent += share
                if (step + place) % 3:
                    sending[place].transport.write(octet_counted(pieces))
                else:
                    body = [octet_counted(pieces)]
                    self.assertEqual(204, await post(node.ports["logs"], body, CREDENTIAL, {}))
            if pause_s:
                await deferLater(reactor, pause_s)
            yield sent
        for each in sending:
            each.transport.loseConnection()

    async def reader(self, node: Node, channel_id: str, num: int, events: bool = False) -> Reader:
        """A tail on a node; its session was made on another."""
        other = self.nodes[self.nodes.index(node) - 1]
        reader = Reader(node, await session(other, channel_id, tail=True, num=num), events)
        await reader.open()
        return reader

    async def ended_on(self, reader: Reader, number: int) -> None:
        """Wait until a reader was shown this message."""
        text = b"number=%d " % number

        async def shown() -> bool:
            return text in reader.connection.body or text in reader.shown

        await until(shown, f"message {number} is shown")

    async def accounted_for(self, sent: int) -> None:
        """Every message that any node has received was written or dropped."""

        async def look() -> bool:
            metrics = [await node.metrics() for node in self.nodes]
            processed = sum(each["logplex_messages_processed_total"] for each in metrics)
            written = sum(each["logplex_spool_written_total"] for each in metrics)
            dropped = sum(each["logplex_spool_dropped_total"] for each in metrics)
            self.account = (processed, written, dropped)
            return processed == written + dropped == sent

        try:
            await until(look, f"{sent} messages are accounted for")
        except Exception as late:
            raise AssertionError(f"of {sent}: processed, written, dropped {self.account}") from late

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

    async def troubled(self, events: Sequence[tuple[int, str]]) -> dict[str, list[Reader]]:
        """
        Let all channels be tailed on all nodes, and do things to the first shard meanwhile.

        :param events: at which step, and what.
        """
        await self.cluster()
        readers = {
            channel_id: [await self.reader(node, channel_id, num=0) for node in self.nodes]
            for channel_id in CHANNELS
        }
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
        return readers

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
        """How often a node has missed a channel's shard."""
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

    async def see_out(self, readers: Mapping[str, Sequence[Reader]], sent: int) -> None:
        """
        Wait until readers have been shown all that they will be, of so many messages.

        Everything is written by now. So who has been shown one more message from each node waits
        for nothing older.
        """
        for place, node in enumerate(self.nodes):
            first = sent + place * len(CHANNELS)
            pieces = [numbered(token, [first + n])[0] for n, token in enumerate(self.tokens)]
            body = [octet_counted(pieces)]
            self.assertEqual(204, await post(node.ports["logs"], body, CREDENTIAL, {}))
        for channel, channel_id in enumerate(CHANNELS):
            for reader in readers[channel_id]:
                for place in range(len(self.nodes)):
                    await self.ended_on(reader, sent + place * len(CHANNELS) + channel)

    def shown(self, reader: Reader, sent: int) -> list[int]:
        """Which of so many messages a reader was shown, none of them twice."""
        numbers = sorted(number for number in reader.numbers() if number < sent)
        self.assertEqual(len(numbers), len(set(numbers)), "shown twice")
        return numbers

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
