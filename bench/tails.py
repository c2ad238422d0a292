"""
What open tails cost: lines delivered to many readers of one channel, and readers of silence.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from attrs import frozen
from twisted.internet.task import deferLater

from bench.measure import cpu_s, rss_mb
from bench.parts import running_node
from tests.integration.node import Node
from tests.integration.process import Child, Ended, reactor, within
from tests.integration.readers import session

_WARM_UP_S = 2.0
_PATIENCE_S = 120.0


@frozen
class TailResult:
    """
    What so many tails of one channel cost.

    :ivar lost: lines that did not reach their reader.
    """

    cpu_us_per_line: float
    cpu_share: float
    p50_ms: float
    p99_ms: float
    lost: float


class Readers:
    """A running :mod:`bench.readers`."""

    def __init__(self, child: Child) -> None:
        self._child = child

    async def counted(self) -> dict[str, float]:
        """What has come since this was last asked."""
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


async def _send(node: Node, token: str, rate: float, messages: int) -> None:
    command = [sys.executable, "-m", "bench.stamped", "--port", str(node.ports["syslog"])]
    child = Child.spawn([*command, "--messages", str(messages), "--rate", str(rate), token])
    ended: Ended = await within(child.ended(), "everything is sent", _PATIENCE_S)
    if ended.status:
        raise ended


async def delivered(tails: int, rate: float, seconds: float) -> TailResult:
    """
    Measure so many tails of one channel that gets messages at this rate.

    :param rate: messages a second.
    """
    messages = int(rate * seconds)
    async with running_node({}) as node:
        token = await node.channel("app-1")
        path = await session(node, "app-1", tail=True, num=0)
        async with running_readers(node, path, tails) as readers:
            await _send(node, token, rate, int(rate * _WARM_UP_S))
            await deferLater(reactor, 1.0)
            await readers.counted()
            used, started = cpu_s(node.child.pid), time.monotonic()
            await _send(node, token, rate, messages)
            took = time.monotonic() - started
            await deferLater(reactor, 1.0)
            used = cpu_s(node.child.pid) - used
            counted = await readers.counted()
    return TailResult(
        cpu_us_per_line=used / (messages * tails) * 1e6,
        cpu_share=used / took,
        p50_ms=counted["p50_ms"],
        p99_ms=counted["p99_ms"],
        lost=messages * tails - counted["lines"],
    )


async def idle_kb_per_tail(tails: int) -> float:
    """How much resident memory of the node each of so many silent tails takes, in kB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        async with running_node({}) as node:
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
