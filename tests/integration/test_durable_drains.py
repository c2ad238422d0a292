# SPDX-License-Identifier: Apache-2.0

"""
Durable drains of real nodes that are killed and restarted: every message arrives, and none twice
at a receiver that remembers frame ids.
"""

from __future__ import annotations

from random import Random
from uuid import UUID

import treq
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater

from tests.integration.cases import IntegrationTestCase
from tests.integration.node import Node
from tests.integration.process import reactor, until
from tests.integration.receivers import Answer, Delivery, HttpReceiver, TcpReceiver, refusal
from tests.integration.senders import numbered, numbers_in, octet_counted

#: Reactions of the receiver, and their share: it takes a request and says nothing, or refuses it.
WHIMS = {
    Answer(): 10,
    Answer(raw=b"", close=True): 3,
    refusal(500): 2,
    refusal(503, Retry_After="0"): 2,
    refusal(401): 1,
    refusal(404): 1,
    refusal(429): 1,
    Answer(raw=b"", close=True, keeps=False): 2,
}
#: Fast, so that a run meets many faults.
DRAINS = {
    "http_answer_timeout_s": 0.5,
    "http_retry_delays_s": [0.01, 0.02],
    "http_batch_messages": 40,
}


class RememberingReceiver(HttpReceiver):
    """
    A receiver that keeps a request once, by its frame id.

    :ivar kept: the frames by frame id, in the order in which they came.
    """

    def __init__(self, random: Random) -> None:
        super().__init__()
        self.kept: dict[str, list[bytes]] = {}
        self.calm = False
        self._random = random
        self.script = self._react

    def _react(self, delivery: Delivery) -> Answer:
        [whim] = self._random.choices([*WHIMS], [*WHIMS.values()])
        answer = Answer() if self.calm else whim
        if answer.keeps:
            frame_id = delivery.headers["logplex-frame-id"]
            known = self.kept.setdefault(frame_id, delivery.frames)
            assert known == delivery.frames, frame_id
        return answer

    @property
    def numbers(self) -> list[int]:
        """The numbers of the messages that it has kept."""
        return numbers_in(frame for frames in self.kept.values() for frame in frames)


async def _all_there(receiver: TcpReceiver, count: int) -> bool:
    return len(set(numbers_in(receiver.frames))) >= count


class DurableDrainTests(IntegrationTestCase):
    async def durable(self, node: Node, receiver: HttpReceiver | TcpReceiver) -> str:
        """Make a channel with one durable drain; return its token."""
        token = await node.channel("app-1")
        added = await node.request(
            "POST", "/v3/channels/app-1/drains", {"url": receiver.url, "durable": True}
        )
        self.assertEqual((added.status, added.json()["durable"]), (201, True))
        return token

    async def post_until_taken(self, node: Node, token: str, frame_id: str, body: bytes) -> None:
        """Repeat a request until it has its 204, as log-shuttle does."""
        headers: dict[bytes | str, bytes | str] = {
            "Content-Type": "application/logplex-1",
            "Logplex-Frame-Id": frame_id,
        }
        while True:
            try:
                answer = await treq.post(
                    f"http://127.0.0.1:{node.ports['logs']}/logs",
                    body,
                    headers=headers,
                    auth=("token", token),
                    persistent=False,
                    timeout=2,
                )
                if answer.code == 204:
                    return
            except Exception:  # The node is down, or was killed meanwhile.
                pass
            await deferLater(reactor, 0.05)

    async def test_killed_again_and_again(self) -> None:
        random = Random(7)
        receiver = RememberingReceiver(random)
        self.receiver(receiver)
        node = await self.node({"drains": DRAINS})
        token = await self.durable(node, receiver)
        count = 0

        async def send() -> None:
            nonlocal count
            for _ in range(120):
                some = random.randrange(1, 40)
                body = octet_counted(numbered(token, range(count, count + some)))
                frame_id = str(UUID(int=random.getrandbits(128)))
                await self.post_until_taken(node, token, frame_id, body)
                count += some

        async def disturb() -> None:
            for number in range(4):
                await deferLater(reactor, random.uniform(0.2, 0.6))
                if number == 2:
                    await node.terminate()
                else:
                    await node.kill()
                await node.start()

        await DeferredList(
            [Deferred.fromCoroutine(send()), Deferred.fromCoroutine(disturb())],
            fireOnOneErrback=True,
        )
        receiver.calm = True

        async def settled() -> bool:
            return len(receiver.numbers) >= count

        await until(settled, "everything has arrived")
        self.assertEqual(receiver.numbers, list(range(count)))

    async def test_syslog_that_is_away_while_the_node_is_killed(self) -> None:
        """Over TCP each message arrives at least once, and nothing is skipped."""
        receiver = self.receiver(TcpReceiver())
        node = await self.node()
        token = await self.durable(node, receiver)
        body = octet_counted(numbered(token, range(50)))
        await self.post_until_taken(node, token, "frame", body)
        await until(lambda: _all_there(receiver, 50), "the first have arrived")
        await receiver.down()
        body = octet_counted(numbered(token, range(50, 100)))
        await self.post_until_taken(node, token, "frame-2", body)
        await node.kill()
        await node.start()
        receiver.up()
        await until(lambda: _all_there(receiver, 100), "all have arrived", 30)
        self.assertEqual(sorted(set(numbers_in(receiver.frames))), list(range(100)))

    async def test_a_receiver_that_is_away_while_the_node_restarts(self) -> None:
        receiver = RememberingReceiver(Random(1))
        self.receiver(receiver)
        receiver.calm = True
        node = await self.node({"drains": DRAINS})
        token = await self.durable(node, receiver)
        await receiver.down()
        for first in (0, 50):
            body = octet_counted(numbered(token, range(first, first + 50)))
            await self.post_until_taken(node, token, f"frame-{first}", body)
            await self.post_until_taken(node, token, f"frame-{first}", body)
            await node.kill()
            await node.start()
            await self.post_until_taken(node, token, f"frame-{first}", body)
        receiver.up()

        async def settled() -> bool:
            return len(receiver.numbers) >= 100

        await until(settled, "everything has arrived")
        self.assertEqual(receiver.numbers, list(range(100)))

        async def done() -> bool:
            metrics = await node.metrics()
            return metrics["logplex_journal_messages"] == 0

        await until(done, "nothing is left in the journal")
