# SPDX-License-Identifier: Apache-2.0

"""
Three real nodes on three real shards, with a flood of numbered messages, and readers everywhere.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater

from logplex.spool.cluster.ring import Ring
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


class ClusterTestCase(IntegrationTestCase):
    """A test with such a cluster."""

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
        Start three nodes that know some channels, on a config Redis and three shards, all of which
        keep some.
        """
        self.config = await self.server()
        self.shards = [await self.server() for _ in range(3)]
        # With names of their own the shards have the same channels at every run.
        self.urls = [f"{each.url}#{name}" for each, name in zip(self.shards, "abc", strict=True)]
        self.placement = Ring(self.urls)
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

    async def readers_everywhere(self) -> dict[str, list[Reader]]:
        """A tail of every channel on every node."""
        return {
            channel_id: [await self.reader(node, channel_id, num=0) for node in self.nodes]
            for channel_id in CHANNELS
        }

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
        """Return the numbers of the messages that a reader was shown, none of them twice."""
        numbers = sorted(number for number in reader.numbers() if number < sent)
        self.assertEqual(len(numbers), len(set(numbers)), "shown twice")
        return numbers
