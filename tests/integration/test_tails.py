# SPDX-License-Identifier: Apache-2.0

"""
Tails of a real node, under load: nothing missing, nothing double, one order.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater

from tests.integration.cases import IntegrationTestCase
from tests.integration.node import CREDENTIAL, Node
from tests.integration.process import reactor, until
from tests.integration.readers import Reader, session
from tests.integration.senders import numbered, octet_counted, post

MESSAGES = 20_000
STEPS = 200
CUTS = 10
#: What a hundred slow readers may take: 128 KiB of each transport's, and what they share.
MEMORY_MB = 40


def rss_mb(node: Node) -> float:
    """The memory of a node's process now."""
    status = Path(f"/proc/{node.child.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1_000


class TailTests(IntegrationTestCase):
    timeout = 120

    async def flood(self, node: Node, token: str, size: int = 0) -> AsyncIterator[int]:
        """
        Send numbered messages, half over TCP, half by POST.

        :param size: bytes to add to each.
        :return: after each step, the number of messages sent so far.
        """
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", node.ports["syslog"])
        sending: Any = await connectProtocol(endpoint, Protocol())
        each = MESSAGES // STEPS // 2
        for step in range(STEPS):
            first = step * each * 2
            messages = [m + b"." * size for m in numbered(token, range(first, first + 2 * each))]
            sending.transport.write(octet_counted(messages[:each]))
            status = await post(
                node.ports["logs"], [octet_counted(messages[each:])], CREDENTIAL, {}
            )
            self.assertEqual(204, status)
            yield first + 2 * each
        sending.transport.loseConnection()

    async def seen(self, reader: Reader, count: int) -> None:
        """Wait until a reader was shown this number of messages."""
        body = reader.connection.body

        async def enough() -> bool:
            return body.count(b"number=") + reader.shown.count(b"number=") >= count

        await until(enough, f"{count} messages are shown")

    async def ended_on(self, reader: Reader, last: int) -> None:
        """Wait until a reader was shown this message."""
        text = b"number=%d " % last

        async def shown() -> bool:
            return reader.connection.body.rfind(text) >= 0 or reader.shown.rfind(text) >= 0

        await until(shown, "the last message is shown")

    async def test_thirty_readers_at_random_moments(self) -> None:
        chance = random.Random(7)
        node = await self.node()
        token = await node.channel("app-1")
        live = await session(node, "app-1", tail=True, num=0)
        with_history = await session(node, "app-1", tail=True, num=300)
        whole = Reader(node, live)
        await whole.open()
        readers = [Reader(node, with_history, events=n % 2 == 0) for n in range(30)]
        openings: dict[int, list[Reader]] = defaultdict(list)
        cuts: dict[int, list[Reader]] = defaultdict(list)
        for reader in readers:
            first = chance.randrange(STEPS - 20)
            openings[first].append(reader)
            if reader.events:
                for step in chance.sample(range(first + 1, STEPS), CUTS):
                    cuts[step].append(reader)
        sent_before: dict[Reader, int] = {}
        step = 0
        async for sent in self.flood(node, token):
            for reader in openings[step]:
                sent_before[reader] = sent
                await reader.open()
            for reader in cuts[step]:
                await reader.cut()
            step += 1
        await self.seen(whole, MESSAGES)
        everything = whole.numbers()
        self.assertEqual(list(range(MESSAGES)), sorted(everything))
        for reader in readers:
            await self.ended_on(reader, everything[-1])
            numbers = reader.numbers()
            self.assertEqual(everything[-len(numbers) :], numbers)
            self.assertGreaterEqual(len(numbers), MESSAGES - sent_before[reader])
            self.assertNotIn(b"L11", bytes(reader.shown))
            reader.close()
        whole.close()
        await self.gone(node)
        for path in (live, with_history):
            self.assertNotIn(path.rpartition("/")[2], "\n".join(node.child.lines))

    async def gone(self, node: Node) -> None:
        """Wait until the node knows that it has no readers."""

        async def nobody() -> bool:
            return (await node.metrics())["logplex_tails"] == 0

        await until(nobody, "the tails are closed")

    async def test_a_hundred_slow_readers(self) -> None:
        node = await self.node()
        token = await node.channel("app-1")
        path = await session(node, "app-1", tail=True, num=0)
        whole = Reader(node, path)
        await whole.open()
        slow = [Reader(node, path, events=n % 2 == 0) for n in range(100)]
        for reader in slow:
            await reader.open(receive_buffer_bytes=4_096)
            reader.pause()
        before_mb = rss_mb(node)
        most_mb = before_mb
        step = 0
        async for _ in self.flood(node, token, size=300):
            step += 1
            if step % 20 == 0:
                most_mb = max(most_mb, rss_mb(node))
                # Somebody reads a little, and is told of what he missed.
                reader = slow[step // 20]
                reader.resume()
                await deferLater(reactor, 0.1)
                reader.pause()
        await self.seen(whole, MESSAGES)
        everything = whole.numbers()
        self.assertEqual(list(range(MESSAGES)), sorted(everything))
        for reader in slow:
            reader.resume()
        for reader in slow:
            await self.ended_on(reader, everything[-1])
            shown = reader.numbers_and_losses()
            self.assertEqual(MESSAGES, len(shown))
            self.assertIn(None, shown)
            wrong = [
                (mine, theirs)
                for mine, theirs in zip(shown, everything, strict=True)
                if mine is not None and mine != theirs
            ]
            self.assertEqual([], wrong)
            reader.close()
        self.assertLess(most_mb - before_mb, MEMORY_MB)

    async def test_readers_that_do_not_read_cost_no_other_channel(self) -> None:
        node = await self.node({"limits": {"tail_history_bytes": 1_000_000}})
        texts = [b"." * 9_000 for _ in range(300)]
        for channel_id in ("greedy-1", "greedy-2"):
            token = await node.channel(channel_id)
            messages = [m + t for m, t in zip(numbered(token, range(300)), texts, strict=True)]
            # More than the kernel takes for a reader: 13 MB.
            for _ in range(5):
                await post(node.ports["logs"], [octet_counted(messages)], CREDENTIAL, {})
        token = await node.channel("modest")
        await post(node.ports["logs"], [octet_counted(numbered(token, range(50)))], CREDENTIAL, {})
        silent = []
        for channel_id in ("greedy-1", "greedy-2") * 10:
            path = await session(node, channel_id, num=1_500, tail=True)
            silent.append(Reader(node, path))
            await silent[-1].open(receive_buffer_bytes=4_096)
            silent[-1].pause()
            reader = Reader(node, await session(node, "modest", num=50))
            await reader.open()
            await self.seen(reader, 50)
            self.assertEqual(list(range(50)), reader.numbers())
            reader.close()
        dropped = (await node.metrics())["logplex_tail_histories_dropped_total"]
        self.assertGreater(dropped, 0)
        for reader in silent:
            reader.close()

    async def test_a_stopping_node_ends_its_tails(self) -> None:
        node = await self.node()
        token = await node.channel("app-1")
        path = await session(node, "app-1", tail=True)
        readers = [Reader(node, path), Reader(node, path, events=True)]
        for reader in readers:
            await reader.open()
        messages = octet_counted(numbered(token, range(10)))
        await post(node.ports["logs"], [messages], CREDENTIAL, {})
        for reader in readers:
            await self.seen(reader, 10)
        await node.terminate()
        for reader in readers:
            self.assertEqual(list(range(10)), reader.numbers())
            self.assertTrue(reader.connection.is_whole)
