# SPDX-License-Identifier: Apache-2.0

"""
A real node is never the receiver of its own drains, and neither is its Redis, with the default
settings and through names.
"""

from __future__ import annotations

from typing import Any

from tests.integration.cluster import ClusterTestCase
from tests.integration.node import Node
from tests.integration.process import until
from tests.integration.receivers import HttpReceiver
from tests.integration.senders import numbered, octet_counted, send


class OwnServicesTests(ClusterTestCase):
    async def assert_denied(self, node: Node, urls: list[str]) -> None:
        """Drains to these URLs connect nowhere; one to another port of the machine delivers."""
        receiver = self.receiver(HttpReceiver())
        token = await node.channel("app", [*urls, receiver.url])
        await send(node.ports["syslog"], octet_counted(numbered(token, range(3))))
        await receiver.received(3)
        channel = await node.request("GET", "/v3/channels/app")
        for drain in channel.json()["drains"]:
            path = f"/v3/channels/app/drains/{drain['id']}"

            async def tried(path: str = path) -> Any:
                status = (await node.request("GET", path)).json()
                return status if status["delivered"] or status["last_error"] else None

            status = await until(tried, "the drain has tried")
            if drain["url"] in urls:
                self.assertIn("may not connect to", status["last_error"], drain["url"])
                self.assertEqual(status["delivered"], 0)

    async def test_listeners(self) -> None:
        node = await self.node()
        ports = node.ports
        await self.assert_denied(
            node,
            [
                f"syslog://127.0.0.1:{ports['syslog']}",
                f"syslog://localhost:{ports['syslog']}",
                f"http://[::ffff:127.0.0.1]:{ports['logs']}/logs",
                f"http://0.0.0.0:{ports['api_v3']}/",
                f"http://127.0.0.1:{ports['metrics']}/",
            ],
        )

    async def test_redis(self) -> None:
        """Of the configuration and of the shards."""
        configuration, shard = await self.server(), await self.server()
        node = await self.node({"store": {"url": configuration.url, "shards": [shard.url]}})
        redis = await configuration.ask("CLIENT", "LIST")
        await self.assert_denied(
            node,
            [
                f"syslog://127.0.0.1:{configuration.port}",
                f"syslog://localhost:{configuration.port}",
                f"syslog://127.0.0.1:{shard.port}",
                f"http://[::]:{shard.port}/",
            ],
        )
        after = await configuration.ask("CLIENT", "LIST")
        self.assertEqual(redis.count(b"\n"), after.count(b"\n"))
