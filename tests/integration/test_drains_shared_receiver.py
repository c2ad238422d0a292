# SPDX-License-Identifier: Apache-2.0

"""
Thousands of drains that share one receiver, which goes away and comes back.
"""

from __future__ import annotations

import time

from twisted.internet.task import deferLater

from tests.integration.cases import IntegrationTestCase
from tests.integration.node import Node
from tests.integration.process import reactor
from tests.integration.receivers import HttpReceiver
from tests.integration.senders import numbered, octet_counted, send

_CHANNELS = 200
_DRAINS = 6 * _CHANNELS
_AWAY_S = 10.0
#: What is to be reached on a machine of its own, and more where others use its processors too.
_HEALTH_S = 0.1
_BUSY_MACHINE_S = 0.4
_BACK_S = 10.0


class SharedReceiverTests(IntegrationTestCase):
    timeout = 280

    async def health_s(self, node: Node) -> float:
        began = time.monotonic()
        answer = await node.request("GET", "/v3/healthcheck", auth=None)
        self.assertEqual(answer.status, 200)
        return time.monotonic() - began

    async def tokens(self, node: Node) -> list[str]:
        """Make the channels, with six drains each."""
        tokens = []
        drains = [f"{self.shared.url}/{number}" for number in range(6)]
        for first in range(0, _CHANNELS, 50):
            made = [node.channel(f"app-{number}", drains) for number in range(first, first + 50)]
            tokens += [await each for each in made]
        return tokens

    def delivered(self) -> set[str]:
        """Return the tokens of the drains that have delivered."""
        return {
            f"{each.target} {each.headers['logplex-drain-token']}"
            for each in self.shared.deliveries
        }

    async def test_away_and_back(self) -> None:
        """The node stays mostly idle and answers, and all drains are back soon."""
        self.shared = self.receiver(HttpReceiver())
        await self.shared.down()
        node = await self.node()
        tokens = await self.tokens(node)
        for token in tokens:
            await send(node.ports["syslog"], octet_counted(numbered(token, [0])))
        used = (await node.metrics())["process_cpu_seconds_total"]
        slow = []
        for _ in range(int(_AWAY_S / 0.25)):
            slow.append(await self.health_s(node))
            await deferLater(reactor, 0.25)
        metrics = await node.metrics()
        share = (metrics["process_cpu_seconds_total"] - used) / _AWAY_S
        self.assertGreaterEqual(metrics["logplex_drains_buffered"], _DRAINS)
        self.assertEqual(metrics["logplex_drain_messages_dropped_total"], 0)
        self.assertLess(sorted(slow)[len(slow) // 2], _HEALTH_S)
        self.assertLess(max(slow), _BUSY_MACHINE_S, slow)
        self.assertLess(share, 0.5)
        figures = f"share of a core {share:.2f}, health {max(slow):.3f} s"
        self.shared.up()
        began = time.monotonic()
        # The receivers, in the process of this test, now have as much to do as the node.
        while len(self.delivered()) < _DRAINS:
            await self.health_s(node)
            self.assertLess(time.monotonic() - began, _BACK_S, figures)
            await deferLater(reactor, 0.1)
