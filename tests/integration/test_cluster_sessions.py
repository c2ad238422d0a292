# SPDX-License-Identifier: Apache-2.0

"""
Sessions of a cluster: every node renews those that it streams.
"""

from __future__ import annotations

from twisted.internet.task import deferLater

from tests.integration.cases import IntegrationTestCase
from tests.integration.node import Node
from tests.integration.process import reactor, until
from tests.integration.readers import Reader, session
from tests.integration.redis_server import BUNDLED, INSTALLED, RedisServer

LIFETIME_S = 6.0


class ClusterSessionTests(IntegrationTestCase):
    """Two nodes on one Redis."""

    skip = None if INSTALLED or BUNDLED else "no Redis server is installed"
    timeout = 120

    async def cluster(self) -> None:
        executable = INSTALLED or BUNDLED
        assert executable is not None
        server = RedisServer(self.directory(), executable)
        self.addCleanup(server.kill)
        await server.start()
        store, limits = {"url": server.url}, {"session_lifetime_s": LIFETIME_S}
        self.one, self.two = [
            await self.node({"store": store, "node": {"name": name}, "limits": limits})
            for name in ("one", "two")
        ]
        await self.one.channel("app-1")
        await self.status(self.two, "/v3/channels/app-1", 200)

    async def status(self, node: Node, path: str, status: int) -> None:
        async def answers() -> bool:
            return (await node.request("GET", path)).status == status

        await until(answers, f"{path} answers {status}")

    async def opened(self) -> list[Reader]:
        """Return the tails of one session on both nodes, of plain lines and of events."""
        path = await session(self.one, "app-1", tail=True)
        readers = [
            Reader(node, path, events=n == 0) for node in (self.one, self.two) for n in (0, 1)
        ]
        for reader in readers:
            await reader.open()
            self.assertIn(b" 200 ", reader.connection.head)
        return readers

    async def test_a_client_that_is_cut_after_more_than_a_lifetime(self) -> None:
        await self.cluster()
        readers = await self.opened()
        await deferLater(reactor, LIFETIME_S + 2.0)
        for reader, node in zip(readers, (self.two, self.two, self.one, self.one), strict=True):
            self.assertFalse(reader.connection.is_closed)
            await reader.cut(node)
            self.assertIn(b" 200 ", reader.connection.head)
            reader.close()
