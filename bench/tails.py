# SPDX-License-Identifier: Apache-2.0

"""
The cost of open tails: of many readers of one busy channel, and of readers of silent ones.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from attrs import frozen
from twisted.internet.task import deferLater

from bench.measure import cpu_s, rss_mb
from bench.parts import running_node, running_redis
from tests.integration.node import Node
from tests.integration.process import Child, Ended, reactor, until, within
from tests.integration.readers import session

_WARM_UP_S = 2.0
_PATIENCE_S = 120.0


@frozen
class TailResult:
    """
    The cost of a number of tails of one channel, of all nodes together, without Redis.

    :ivar p50_ms: from a message's sender to a tail of the last node; so is ``p99_ms``.
    :ivar lost: lines that did not reach their reader.
    :ivar doubled: lines that reached their reader once more.
    """

    cpu_us_per_line: float
    cpu_share: float
    redis_cpu_us_per_line: float
    p50_ms: float
    p99_ms: float
    lost: float
    doubled: float


class Readers:
    """A running :mod:`bench.readers`."""

    def __init__(self, child: Child) -> None:
        self._child = child

    async def counted(self) -> dict[str, float]:
        """Return what has been received since the last call."""
        lines = len(self._child.lines)
        self._child.write("?")
        found = await within(self._child.seen(r"^{.*}$", after=lines), "the readers answer")
        counted: dict[str, float] = json.loads(found[0])
        return counted


@asynccontextmanager
async def running_readers(node: Node, path: str, readers: int) -> AsyncIterator[Readers]:
    """So many tails of one session, gone at the end."""
    command = [sys.executable, "-m", "bench.readers", "--port", str(node.ports["api"])]
    child = Child.spawn([*command, "--readers", str(readers), path])
    try:
        await within(child.seen("^open$"), "the readers are open", _PATIENCE_S)
        yield Readers(child)
    finally:
        await child.end()


async def _send(nodes: Sequence[Node], token: str, rate: float, messages: int) -> None:
    """Send to all these nodes at the same time, an equal part to each."""
    command = [sys.executable, "-m", "bench.stamped", "--rate", str(rate / len(nodes))]
    command += ["--messages", str(messages // len(nodes)), token]
    children = [Child.spawn([*command, "--port", str(node.ports["syslog"])]) for node in nodes]
    for child in children:
        ended: Ended = await within(child.ended(), "everything is sent", _PATIENCE_S)
        if ended.status:
            raise ended


async def delivered(tails: int, rate: float, seconds: float) -> TailResult:
    """
    Measure so many tails of one channel that gets messages at this rate.

    :param rate: messages a second.
    """
    async with running_node({}) as node:
        token = await node.channel("app-1")
        return await _measure([node], [node], token, tails, rate, seconds)


async def delivered_by_two(tails: int, rate: float, seconds: float, inputs: int) -> TailResult:
    """
    The same over two nodes that share a Redis, half of the tails at each.

    :param inputs: how many of the nodes get messages; together they get this rate.
    """
    async with AsyncExitStack() as running:
        redis = await running.enter_async_context(running_redis())
        nodes = [
            await running.enter_async_context(
                running_node({"node": {"name": name}, "store": {"url": redis.url}})
            )
            for name in ("node-1", "node-2")
        ]
        token = await nodes[0].channel("app-1")
        await until(lambda: _knows_the_channel(nodes[1]), "the other node knows the channel")
        return await _measure(nodes, nodes[:inputs], token, tails, rate, seconds, redis.pid)


async def _knows_the_channel(node: Node) -> bool:
    answer = await node.request("GET", "/v3/channels/app-1")
    return answer.status == 200 and "tokens" in answer.json()


async def _measure(
    nodes: Sequence[Node],
    inputs: Sequence[Node],
    token: str,
    tails: int,
    rate: float,
    seconds: float,
    redis_pid: int | None = None,
) -> TailResult:
    pids = [node.child.pid for node in nodes]
    messages = int(rate * seconds)
    async with AsyncExitStack() as running:
        path = await session(nodes[0], "app-1", tail=True, num=0)
        readers = [
            await running.enter_async_context(running_readers(node, path, tails // len(nodes)))
            for node in nodes
        ]
        await _send(inputs, token, rate, int(rate * _WARM_UP_S))
        await deferLater(reactor, 1.0)
        for each in readers:
            await each.counted()
        used, started = sum(map(cpu_s, pids)), time.monotonic()
        redis_used = cpu_s(redis_pid) if redis_pid else 0.0
        await _send(inputs, token, rate, messages)
        took = time.monotonic() - started
        await deferLater(reactor, 1.0)
        used = sum(map(cpu_s, pids)) - used
        redis_used = cpu_s(redis_pid) - redis_used if redis_pid else 0.0
        counted = [await each.counted() for each in readers]
    lines = messages * tails
    doubled = sum(each["doubled"] for each in counted)
    return TailResult(
        cpu_us_per_line=used / lines * 1e6,
        cpu_share=used / took,
        redis_cpu_us_per_line=redis_used / lines * 1e6,
        p50_ms=counted[-1]["p50_ms"],
        p99_ms=counted[-1]["p99_ms"],
        lost=lines + doubled - sum(each["lines"] for each in counted),
        doubled=doubled,
    )


async def idle_kb_per_tail(tails: int) -> float:
    """Measure the resident memory that each silent tail takes, in kB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        limits = {"tails_per_channel": tails + 10}
        async with running_node({"limits": limits}) as node:
            await node.channel("app-1")
            path = await session(node, "app-1", tail=True)
            async with running_readers(node, path, 10):
                empty = rss_mb(node.child.pid)
            async with running_readers(node, path, tails):
                # Longer than the silence before the first comment.
                await deferLater(reactor, 20.0)
                return (rss_mb(node.child.pid) - empty) * 1e3 / tails
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
