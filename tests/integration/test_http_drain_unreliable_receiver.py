# SPDX-License-Identifier: Apache-2.0

"""
A receiver that does at random what receivers do: every message is delivered once, or counted.
"""

from __future__ import annotations

import re
from random import Random

from twisted.internet.task import deferLater

from tests.integration.cases import IntegrationTestCase
from tests.integration.process import reactor, until
from tests.integration.receivers import Answer, Delivery, HttpReceiver, refusal
from tests.integration.senders import numbered, numbers_in, octet_counted, send

_LOST = re.compile(rb"Error L10 \(output buffer overflow\): (\d+) messages dropped since ")

#: What it does, and how often among these.
_WHIMS = {
    Answer(): 12,
    refusal(500): 3,
    refusal(503, Retry_After="0"): 2,
    refusal(429): 2,
    refusal(404): 2,
    refusal(302, Location="http://127.0.0.1:9/"): 1,
    Answer(delay_s=0.1): 2,
    Answer(close=True): 2,
    Answer(raw=b"", close=True, keeps=False): 2,
    Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Le", close=True, keeps=False): 1,
    Answer(raw=b"SSH-2.0-OpenSSH_9.2\r\n", keeps=False): 1,
    Answer(raw=b"", keeps=False): 1,  # silence
}


class UnreliableReceiverTests(IntegrationTestCase):
    async def test_every_message_delivered_or_counted(self) -> None:
        """
        Messages arrive in order and once; others are in the counts of the notices,
        exactly, also where a notice itself was lost on the way.
        """
        for seed in range(2):
            await self.unreliable(Random(seed))

    async def unreliable(self, random: Random) -> None:
        node = await self.node(
            {
                "drains": {
                    "buffer_messages": 200,
                    "shared_buffer_bytes": 0,
                    "http_tries": 3,
                    "http_batch_messages": 50,
                    "http_answer_timeout_s": 0.3,
                    "http_retry_delays_s": [0.01, 0.02],
                }
            }
        )
        receiver = self.receiver(HttpReceiver())
        whims, often = [*_WHIMS], [*_WHIMS.values()]

        def whim(_: Delivery) -> Answer:
            [answer] = random.choices(whims, often)
            return answer

        receiver.script = whim
        token = await node.channel("app-1", [receiver.url])
        sent = 0
        for _ in range(100):
            count = random.randrange(1, 60)
            await send(
                node.ports["syslog"], octet_counted(numbered(token, range(sent, sent + count)))
            )
            sent += count
            await deferLater(reactor, random.uniform(0, 0.05))
        receiver.script = lambda _: Answer()

        async def settled() -> bool:
            metrics = await node.metrics()
            return metrics["logplex_drains_buffered"] == 0

        await until(settled, "nothing is buffered")
        # A notice of the last losses comes with the next message.
        await send(node.ports["syslog"], octet_counted(numbered(token, [sent])))
        await until(settled, "nothing is buffered")

        arrived = numbers_in(receiver.frames)
        lost = sum(int(found[1]) for found in map(_LOST.search, receiver.frames) if found)
        self.assertEqual(arrived, sorted(set(arrived)))
        self.assertEqual(arrived[-1], sent)
        self.assertEqual(len(arrived) + lost, sent + 1)
        self.assertGreater(lost, 0)
        await self.counted(node, "logplex_drain_messages_dropped_total", lost)
