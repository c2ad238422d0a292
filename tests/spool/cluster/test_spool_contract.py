# SPDX-License-Identifier: Apache-2.0

"""
The cluster's spool on a model of Redis keeps the contract of a spool.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from logplex.interfaces import ISpool
from tests.contracts.spool import SpoolContract
from tests.doubles.spool_nodes import URLS, SpoolsTestCase

#: A conversation that takes longer is stuck.
_MOST_ROUNDS = 100


class ModelRedisContractTests(SpoolContract, SpoolsTestCase):
    """The contract suite on the cluster's spool, with modelled shards."""

    def settle(self, outcome: Deferred[None]) -> None:
        """Let what was sent arrive until the conversation is over."""
        results: list[object] = []
        outcome.addBoth(results.append)
        for _ in range(_MOST_ROUNDS):
            if results:
                break
            self.heal()
        self.assertTrue(results, "the conversation does not end")
        if isinstance(results[0], Failure):
            results[0].raiseException()

    async def empty_spool(self) -> ISpool:
        self.begin(URLS[0])
        return self.nodes[0].spool

    def now_us(self) -> int:
        return self.shards[URLS[0]].now_us

    async def pass_time(self, seconds: float) -> None:
        self.shards[URLS[0]].pass_time(int(seconds * 1_000_000))
