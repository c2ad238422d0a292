# SPDX-License-Identifier: Apache-2.0

"""
Bursts and hiccups, from a TCP sender through a real node to real receivers: nothing is lost that
the node has room for.
"""

from __future__ import annotations

from tests.integration.cases import IntegrationTestCase
from tests.integration.node import Node
from tests.integration.process import reactor
from tests.integration.receivers import Answer, Delivery, HttpReceiver, TcpReceiver, refusal
from tests.integration.senders import numbered, numbers_in, octet_counted, post, send

BURST = 5_000


class BurstTests(IntegrationTestCase):
    async def assert_nothing_lost(self, node: Node, messages: int) -> None:
        await self.counted(node, "logplex_drain_messages_delivered_total", messages)
        metrics = await node.metrics()
        self.assertEqual(metrics["logplex_drain_messages_dropped_total"], 0)
        self.assertEqual(metrics["logplex_drains_shared_buffer_bytes"], 0)

    async def test_tcp(self) -> None:
        """A burst over TCP reaches a healthy HTTP drain and a healthy syslog drain whole."""
        web, syslog = self.receiver(HttpReceiver()), self.receiver(TcpReceiver())
        node = await self.node()
        token = await node.channel("app", [web.url, syslog.url])
        await send(node.ports["syslog"], octet_counted(numbered(token, range(BURST))))
        for receiver in (web, syslog):
            frames = await receiver.received(BURST)
            self.assertEqual(numbers_in(frames), list(range(BURST)))
        await self.assert_nothing_lost(node, 2 * BURST)

    async def test_one_body(self) -> None:
        """A body of 2,000 messages, into drains that were idle."""
        web, syslog = self.receiver(HttpReceiver()), self.receiver(TcpReceiver())
        node = await self.node()
        token = await node.channel("app", [web.url, syslog.url])
        body = octet_counted(numbered(token, range(2_000)))
        status = await post(node.ports["logs"], [body], ("token", token), {})
        self.assertEqual(status, 204)
        for receiver in (web, syslog):
            self.assertEqual(numbers_in(await receiver.received(2_000)), list(range(2_000)))
        await self.assert_nothing_lost(node, 4_000)

    async def test_overloaded_for_seconds(self) -> None:
        """A receiver that answers 503 for two seconds, while much more than a buffer comes."""
        receiver = self.receiver(HttpReceiver())
        began = reactor.seconds()

        def overloaded(delivery: Delivery) -> Answer:
            return refusal(503) if reactor.seconds() < began + 2 else Answer()

        receiver.script = overloaded
        node = await self.node()
        token = await node.channel("app", [receiver.url])
        await send(node.ports["syslog"], octet_counted(numbered(token, range(BURST))))
        self.assertEqual(numbers_in(await receiver.received(BURST)), list(range(BURST)))
        await self.assert_nothing_lost(node, BURST)

    async def test_small_bodies(self) -> None:
        """A receiver that takes no more than 32 kB in one body, as nginx may be set up."""
        receiver = self.receiver(HttpReceiver())

        def small(delivery: Delivery) -> Answer:
            return refusal(413) if sum(map(len, delivery.frames)) > 32_768 else Answer()

        receiver.script = small
        node = await self.node()
        token = await node.channel("app", [receiver.url])
        await send(node.ports["syslog"], octet_counted(numbered(token, range(1_000))))
        self.assertEqual(numbers_in(await receiver.received(1_000)), list(range(1_000)))
        await self.assert_nothing_lost(node, 1_000)

    async def test_one_bad_message(self) -> None:
        """A receiver that refuses one message of many gets all others."""
        receiver = self.receiver(HttpReceiver())

        def strict(delivery: Delivery) -> Answer:
            return refusal(400) if 17 in numbers_in(delivery.frames) else Answer()

        receiver.script = strict
        node = await self.node()
        token = await node.channel("app", [receiver.url])
        await send(node.ports["syslog"], octet_counted(numbered(token, range(50))))
        await self.counted(node, "logplex_drain_messages_delivered_total", 49)
        self.assertEqual(numbers_in(receiver.frames), [each for each in range(50) if each != 17])
