# SPDX-License-Identifier: Apache-2.0

"""
Two hundred drains, most of which are a trouble: the others must not notice.
"""

from __future__ import annotations

import time
from statistics import median

from attrs import define, field
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from tests.integration.cases import IntegrationTestCase
from tests.integration.node import Node
from tests.integration.process import reactor
from tests.integration.receivers import Answer, HttpReceiver, refusal
from tests.integration.senders import numbered, numbers_in, octet_counted, send

_OF_EACH_KIND = 50
_ROUNDS = 60
_INTERVAL_S = 0.05
#: Few, so that the bad receivers cost messages.
_BUFFER_MESSAGES = 20

#: How much later than alone half of the messages may be in the crowd, which takes processor time.
_TOLERANCE_S = 0.1
#: No message may be so late: less than any wait for a bad receiver, more than a busy machine takes.
_LATEST_S = 2.5


class TimedReceiver(HttpReceiver):
    """Knows when each of its frames came."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def keep(self, frames: list[bytes]) -> None:
        self.times += [time.monotonic()] * len(frames)
        super().keep(frames)


@define
class Crowd:
    """Channels of one kind, each with a drain to a receiver of its own."""

    receivers: list[TimedReceiver] = field(factory=list)
    tokens: list[str] = field(factory=list)


class DrainCrowdTests(IntegrationTestCase):
    timeout = 180

    async def crowd(self, node: Node, kind: str) -> Crowd:
        crowd = Crowd()
        for number in range(_OF_EACH_KIND):
            receiver = TimedReceiver()
            self.addCleanup(receiver.close)
            crowd.receivers.append(receiver)
            crowd.tokens.append(await node.channel(f"{kind}-{number}", [receiver.url]))
        return crowd

    async def test_good_drains_among_bad_ones(self) -> None:
        """
        50 receivers hang, 50 refuse connections, 50 answer 500, 50 are well. These get every
        message in order, as soon as they would alone.
        """
        node = await self.node(
            {"drains": {"buffer_messages": _BUFFER_MESSAGES, "shared_buffer_bytes": 0}}
        )
        well = await self.crowd(node, "well")
        for receiver in well.receivers:
            receiver.up()
        alone = await self.latencies(node, well, [])
        hanging, refusing, failing = [
            await self.crowd(node, kind) for kind in ("hanging", "refusing", "failing")
        ]
        for receiver in hanging.receivers:
            receiver.script = lambda _: Answer(raw=b"", keeps=False)
            receiver.up()
        for receiver in failing.receivers:
            receiver.script = lambda _: refusal(500)
            receiver.up()
        together = await self.latencies(node, well, [hanging, refusing, failing])

        for receiver in well.receivers:
            self.assertEqual(numbers_in(receiver.frames), [*range(_ROUNDS)] * 2)
        self.assertLess(median(together), median(alone) + _TOLERANCE_S)
        self.assertLess(max(together), _LATEST_S)
        await self.check_counters(node)

    async def latencies(self, node: Node, well: Crowd, others: list[Crowd]) -> list[float]:
        """Send rounds of one message to every channel; how long each took to the well ones."""
        tokens = [token for crowd in (well, *others) for token in crowd.tokens]
        before = len(well.receivers[0].times)
        sent: list[float] = []
        for number in range(_ROUNDS):
            messages = [numbered(token, [number])[0] for token in tokens]
            sent.append(time.monotonic())
            await send(node.ports["syslog"], octet_counted(messages))
            await deferLater(reactor, _INTERVAL_S)
        await gatherResults(
            [
                Deferred.fromCoroutine(receiver.received(before + _ROUNDS))
                for receiver in well.receivers
            ]
        )
        return [
            came - went
            for receiver in well.receivers
            for went, came in zip(sent, receiver.times[before:], strict=True)
        ]

    async def check_counters(self, node: Node) -> None:
        """For every drain: delivered + dropped + buffered = received, and few are buffered."""
        metrics = await node.metrics("/metrics/drains")
        drains = [name.partition("{")[2] for name in metrics if "_received" in name]
        self.assertEqual(len(drains), 4 * _OF_EACH_KIND)
        for labels in drains:
            received, delivered, dropped, buffered = [
                metrics[f"logplex_drain_{what}{{{labels}"]
                for what in ("received_total", "delivered_total", "dropped_total", "buffered")
            ]
            self.assertEqual(delivered + dropped + buffered, received, labels)
            # As many may wait, and as many be on their way.
            self.assertLessEqual(buffered, 2 * _BUFFER_MESSAGES, labels)
