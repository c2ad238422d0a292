# SPDX-License-Identifier: Apache-2.0

"""One tenant's misuse of the API costs the requests of another one nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred, gatherResults

from tests.integration.cases import IntegrationTestCase
from tests.integration.node import Node
from tests.integration.process import reactor

#: Requests whose times are compared.
_REQUESTS = 150
#: Attackers at a time.
_ATTACKERS = 4
#: The clients run in one process with this test, and wait for each other.
_CLIENTS_S = 1.0


class NeighbourTests(IntegrationTestCase):
    timeout = 120

    async def p99_s(self, node: Node) -> float:
        """Return the 99th percentile of the times of another tenant's requests."""
        times: list[float] = []
        for _ in range(_REQUESTS):
            began_s = reactor.seconds()
            answer = await node.request("GET", "/v3/channels/quiet")
            self.assertEqual(200, answer.status)
            times.append(reactor.seconds() - began_s)
        return sorted(times)[int(_REQUESTS * 0.99)]

    async def compare(self, node: Node, attack: Callable[[int], Awaitable[object]]) -> None:
        """See that an attack does not even double the times of another tenant."""
        usual_s = await self.p99_s(node)
        running = True

        async def attacker(number: int) -> None:
            while running:
                await attack(number)

        attacking = [Deferred.fromCoroutine(attacker(number)) for number in range(_ATTACKERS)]
        attacked_s = await self.p99_s(node)
        running = False
        await gatherResults(attacking)
        self.assertLess(attacked_s, 2 * usual_s + _CLIENTS_S)

    async def start(self) -> Node:
        node = await self.node(
            {"limits": {"sessions_per_channel": 50, "auth_failure_delay_s": 0.1}}
        )
        for channel_id in ("quiet", "loud"):
            await node.channel(channel_id)
        return node

    async def test_sessions(self) -> None:
        """A tenant opens sessions as fast as it can, past its bound."""
        node = await self.start()
        body = {"channel_id": "loud"}
        statuses: set[int] = set()

        async def attack(number: int) -> None:
            statuses.add((await node.request("POST", "/v3/sessions", body)).status)

        await self.compare(node, attack)
        self.assertEqual({201, 429}, statuses)

    async def test_guessing(self) -> None:
        """A stranger tries one password for every id."""
        node = await self.start()
        ids = iter(range(1_000_000))

        async def attack(number: int) -> None:
            auth = (f"id{next(ids)}", "password1")
            answer = await node.request("GET", "/v3/channels/quiet", auth=auth)
            self.assertEqual(401, answer.status)

        await self.compare(node, attack)
        self.assertGreater((await node.metrics())["logplex_auth_failures_total"], 100)
