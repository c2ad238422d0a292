# SPDX-License-Identifier: Apache-2.0

"""
Scenarios to measure: an input, a number of channels with a drain each, and a pace.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from statistics import median

import attrs
from attrs import frozen
from twisted.internet.task import deferLater

from bench.measure import cpu_s, peak_rss_mb, rss_mb
from bench.parts import Sink, load, running_node, running_redis, running_sink
from tests.integration.node import Node
from tests.integration.process import reactor

#: How long nothing new must have come out before what is missing is called lost.
_QUIET_S = 1.0

#: Messages that warm up a fresh node and open its drains' connections, not measured.
_WARM_UP = 5_000


@frozen
class Scenario:
    """
    One line of the table.

    :ivar how: ``syslog`` or ``post`` (500 messages a request).
    :ivar drains: what kind of drain each channel has: ``http``, ``tcp``, or nothing.
    :ivar rate: messages a second; ``None``: as fast as the node takes them.
    :ivar connections: of ``syslog``; over several each message comes by itself.
    :ivar drained: how many of the channels have a drain; ``None``: all.
    :ivar redis: everything is kept in a Redis, the spool too.
    """

    name: str
    how: str
    channels: int
    drains: str | None
    rate: float | None
    messages: int
    connections: int = 1
    drained: int | None = None
    redis: bool = False

    @property
    def coming_out(self) -> float:
        """The share of the messages that a sink gets: the channels get equally many."""
        return 1.0 if self.drained is None else self.drained / self.channels


@frozen
class Result:
    """
    The resources that a run of a scenario used. Numbers are of the node unless they say otherwise.

    :ivar lost: messages that went in and did not come out.
    :ivar requests: that the drains made.
    """

    messages_per_s: float
    cpu_us_per_message: float
    redis_cpu_us_per_message: float
    lost: float
    requests: float
    peak_rss_mb: float


async def run(scenario: Scenario) -> Result:
    """Measure a scenario once, on a node of its own."""
    async with AsyncExitStack() as running:
        sink = await running.enter_async_context(running_sink(scenario.drains or "http"))
        store, redis_pid = {}, None
        if scenario.redis:
            redis = await running.enter_async_context(running_redis())
            store, redis_pid = {"url": redis.url}, redis.pid
        node = await running.enter_async_context(running_node({"store": store}))
        return await _measure(scenario, node, sink, redis_pid)


async def _measure(scenario: Scenario, node: Node, sink: Sink, redis_pid: int | None) -> Result:
    urls = _drain_urls(scenario, sink)
    drained = scenario.channels if scenario.drained is None else scenario.drained
    tokens = [
        await node.channel(f"app-{number}", urls if number < drained else [])
        for number in range(scenario.channels)
    ]
    port = node.ports["syslog" if scenario.how == "syslog" else "logs"]
    await load(scenario.how, port, tokens, _WARM_UP, rate=20_000)
    before = await settled(sink, _WARM_UP * scenario.coming_out) if scenario.drains else {}
    used, redis_used = cpu_s(node.child.pid), cpu_s(redis_pid) if redis_pid else 0.0
    said = await load(
        scenario.how, port, tokens, scenario.messages, scenario.rate, scenario.connections
    )
    lost = requests = 0.0
    if scenario.drains:
        wanted = before["messages"] + scenario.messages * scenario.coming_out
        after = await settled(sink, wanted)
        lost = wanted - after["messages"]
        requests = after["requests"] - before["requests"]
    used = cpu_s(node.child.pid) - used
    redis_used = cpu_s(redis_pid) - redis_used if redis_pid else 0.0
    return Result(
        messages_per_s=scenario.messages / said["seconds"],
        cpu_us_per_message=used / scenario.messages * 1e6,
        redis_cpu_us_per_message=redis_used / scenario.messages * 1e6,
        lost=lost,
        requests=requests,
        peak_rss_mb=peak_rss_mb(node.child.pid),
    )


def _drain_urls(scenario: Scenario, sink: Sink) -> list[str]:
    schemes = {None: [], "http": ["http"], "tcp": ["syslog"]}[scenario.drains]
    return [f"{scheme}://127.0.0.1:{sink.port}/" for scheme in schemes]


async def settled(sink: Sink, messages: float) -> dict[str, float]:
    """Return the counts of the sink when it has this number of messages, or no more arrive."""
    last: dict[str, float] = {}
    since = time.monotonic()
    while True:
        counted = await sink.counted()
        if counted["messages"] >= messages:
            return counted
        if counted["messages"] != last.get("messages"):
            last, since = counted, time.monotonic()
        elif time.monotonic() - since > _QUIET_S:
            return counted
        await deferLater(reactor, 0.05)


def middle(results: list[Result]) -> Result:
    """The median of every number; the loss is the worst of all."""
    columns = zip(*map(attrs.astuple, results), strict=True)
    typical = Result(*map(median, columns))
    return attrs.evolve(typical, lost=max(result.lost for result in results))


async def idle_rss_mb(channels: int) -> tuple[float, float]:
    """
    Measure the memory of a node without channels, and with channels of one connected drain each.

    :return: resident memory at the start, and after every channel had one message.
    """
    async with running_sink("http") as sink, running_node({}) as node:
        empty = rss_mb(node.child.pid)
        url = f"http://127.0.0.1:{sink.port}/"
        tokens = [await node.channel(f"app-{number}", [url]) for number in range(channels)]
        await load("syslog", node.ports["syslog"], tokens, channels)
        counted = await settled(sink, channels)
        if counted["connections"] < channels:
            raise AssertionError(f"only {counted['connections']} drains are connected")
        return empty, rss_mb(node.child.pid)


async def soak(messages: int, steps: int) -> AsyncIterator[tuple[int, float]]:
    """
    Send very many messages through ten channels with a drain each, as fast as they are taken.

    :return: after each step how many were sent, and the resident memory then.
    """
    async with running_sink("http") as sink, running_node({}) as node:
        url = f"http://127.0.0.1:{sink.port}/"
        tokens = [await node.channel(f"app-{number}", [url]) for number in range(10)]
        for step in range(1, steps + 1):
            await load("syslog", node.ports["syslog"], tokens, messages // steps)
            yield step * (messages // steps), rss_mb(node.child.pid)


async def own_cost(how: str, kind: str, messages: int) -> tuple[float, float]:
    """
    Measure the benchmark's own parts against each other, without a node.

    :return: CPU microseconds per message of the generator, and of the sink.
    """
    async with running_sink(kind) as sink:
        said = await load(how, sink.port, ["t." + "0" * 36], messages)
        counted = await sink.counted()
        return said["cpu_s"] / messages * 1e6, counted["cpu_s"] / messages * 1e6
