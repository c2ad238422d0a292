# SPDX-License-Identifier: Apache-2.0

"""
Drains that lead back to their own channel, over a balancer in front of the nodes. (A node's drains
never connect to its own listeners.)
"""

from __future__ import annotations

from twisted.internet.task import deferLater
from twisted.protocols.portforward import ProxyFactory

from tests.integration.cluster import ClusterTestCase
from tests.integration.node import Node
from tests.integration.process import reactor, until
from tests.integration.senders import numbered, octet_counted, send


class LoopTests(ClusterTestCase):
    """A message circles no more than once, and the owner is told why."""

    timeout = 90

    async def prepare(self) -> None:
        config, shard = await self.server(), await self.server()
        store = {"url": config.url, "shards": [shard.url]}
        self.one, self.two = [
            await self.node({"store": store, "node": {"name": name}}) for name in ("one", "two")
        ]

        factory = ProxyFactory("127.0.0.1", self.two.ports["logs"])
        factory.noisy = False
        balancer = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(balancer.stopListening)
        self.port = balancer.getHost().port

    async def drain(self, channel_id: str, token: str) -> None:
        url = f"http://token:{token}@127.0.0.1:{self.port}/logs"
        answer = await self.one.request("POST", f"/v3/channels/{channel_id}/drains", {"url": url})
        self.assertEqual(answer.status, 201, answer.body)

    async def refused(self, *nodes: Node) -> None:
        """Wait until a node has refused a request as a loop."""
        name = 'logplex_logs_requests_refused_total{reason="loop",status="508"}'

        async def look() -> bool:
            return any([(await node.metrics()).get(name, 0) > 0 for node in nodes])

        await until(look, "a node has found the loop")

    async def received(self, channel_id: str) -> int:
        """Return the messages that both nodes have received for a channel in 2 s from now on."""
        name = f'logplex_channel_messages_received_total{{channel="{channel_id}"}}'

        async def count() -> float:
            pages = [await node.metrics("/metrics/channels") for node in (self.one, self.two)]
            return sum(page.get(name, 0.0) for page in pages)

        before = await count()
        await deferLater(reactor, 2.0)
        return int(await count() - before)

    async def test_own_channel(self) -> None:
        await self.prepare()
        token = await self.one.channel("shop")
        await self.drain("shop", token)
        await send(self.one.ports["syslog"], octet_counted(numbered(token, [1])))
        await self.refused(self.two)
        self.assertEqual(await self.received("shop"), 0)
        answer = await self.one.request("GET", "/v3/channels/shop/logs?num=100")
        self.assertEqual(answer.body.count(b"Error (drain loop): drain 'd."), 1)
        self.assertEqual(answer.body.count(b"number=1 "), 1)

    async def test_three_channels(self) -> None:
        """A circle of three is broken where it closes, within one round."""
        await self.prepare()
        names = ("red", "green", "blue")
        tokens = {name: await self.one.channel(name) for name in names}
        for name, following in zip(names, names[1:] + names[:1], strict=True):
            await self.drain(name, tokens[following])
        await send(self.two.ports["syslog"], octet_counted(numbered(tokens["red"], [1])))
        await self.refused(self.one, self.two)
        for name in names:
            self.assertEqual(await self.received(name), 0)
