"""
What tails cost: for each line that is delivered, in time until it is there, and in memory.
"""

from __future__ import annotations

from attrs import frozen
from twisted.internet.task import deferLater

from bench.measure import cpu_s, rss_mb
from bench.parts import load, running_node, running_tails
from tests.integration.process import reactor

_RATE = 5_000.0
_MESSAGES = 25_000

#: How long after the last message the slowest line has come.
_REST_S = 1.0


@frozen
class Result:
    """
    :ivar delay_p50_ms: half of the messages were with a reader so soon after they were sent.
    """

    cpu_us_per_line: float
    delay_p50_ms: float
    delay_p99_ms: float


async def tailed(tails: int) -> Result:
    """So many tails on one channel that gets 5,000 messages a second."""
    async with running_node({}) as node:
        token = await node.channel("app-1")
        async with running_tails(node, "app-1", tails, probe_token=token) as readers:
            await load("syslog", node.ports["syslog"], [token], 1_000, _RATE)
            await deferLater(reactor, _REST_S)
            before, used = await readers.counted(), cpu_s(node.child.pid)
            await load("syslog", node.ports["syslog"], [token], _MESSAGES, _RATE)
            await deferLater(reactor, _REST_S)
            after = await readers.counted()
            lines = after["lines"] - before["lines"]
            return Result(
                cpu_us_per_line=(cpu_s(node.child.pid) - used) / lines * 1e6,
                delay_p50_ms=after["p50_ms"],
                delay_p99_ms=after["p99_ms"],
            )


async def idle_kb_per_tail(tails: int) -> float:
    """The memory of a tail on which nothing happens, in thousands of bytes."""
    async with running_node({}) as node:
        await node.channel("app-1")
        async with running_tails(node, "app-1", 1):
            before = rss_mb(node.child.pid)
            async with running_tails(node, "app-1", tails):
                return (rss_mb(node.child.pid) - before) / tails * 1_000
