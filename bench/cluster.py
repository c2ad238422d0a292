"""
The configuration in Redis: how soon another node knows of a change, and what the first load takes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from itertools import chain
from statistics import median
from typing import Any
from uuid import UUID

from attrs import frozen

from bench.measure import cpu_s, peak_rss_mb
from bench.parts import running_node, running_redis
from logplex.configuration.redis.keys import commands_of
from logplex.model.values import Channel, Drain, Put, Token, Value
from tests.integration.node import Node
from tests.integration.process import until
from tests.integration.redis_server import RedisServer

_CHANGES = 50
#: Channels whose keys are written in one go.
_FILLED_AT_ONCE = 1_000


@frozen
class Load:
    """The cost of a node's first load, from the start of its process until it is ready."""

    seconds: float
    cpu_s: float
    peak_rss_mb: float


async def _two_nodes(running: AsyncExitStack) -> list[Node]:
    redis = await running.enter_async_context(running_redis())
    return [
        await running.enter_async_context(running_node(_member(redis, name)))
        for name in ("one", "two")
    ]


def _member(redis: RedisServer, name: str) -> dict[str, dict[str, Any]]:
    return {"store": {"url": redis.url}, "node": {"name": name}}


async def _knows(node: Node, channel_id: str) -> bool:
    return (await node.request("GET", f"/v3/channels/{channel_id}")).status == 200


async def change_ms() -> tuple[float, float]:
    """
    Measure the time until a node knows of a change that another node has answered, in ms.

    :return: the median and the longest of some changes, each with the time of the question in it.
    """
    took_ms = []
    async with AsyncExitStack() as running:
        one, two = await _two_nodes(running)
        for number in range(_CHANGES):
            channel_id = f"app-{number}"
            await one.channel(channel_id)
            answered = time.monotonic()
            await until(lambda id=channel_id: _knows(two, id), "the other knows")  # type: ignore[misc]
            took_ms.append((time.monotonic() - answered) * 1e3)
    return median(took_ms), max(took_ms)


async def first_load(channels: int) -> Load:
    """Start a node on a Redis with so many channels, a token and a drain each."""
    async with running_redis() as redis:
        await _fill(redis, channels)
        started = time.monotonic()
        async with running_node(_member(redis, "one")) as node:
            seconds = time.monotonic() - started
            health = (await node.request("GET", "/v3/health")).json()
            if health["known"]["drain"] != channels:
                raise AssertionError(f"the node knows {health['known']}")
            return Load(seconds, cpu_s(node.child.pid), peak_rss_mb(node.child.pid))


async def _fill(redis: RedisServer, channels: int) -> None:
    for first in range(1, channels + 1, _FILLED_AT_ONCE):
        numbers = range(first, min(first + _FILLED_AT_ONCE, channels + 1))
        values: Iterator[Value] = chain.from_iterable(map(_values, numbers))
        await redis.ask_all([command for each in values for command in commands_of(Put(each))])


def _values(number: int) -> tuple[Channel, Token, Drain]:
    """A channel with a token and a drain, as long as they are in life."""
    channel_id, uuid = f"app-{UUID(int=number)}", str(UUID(int=number))
    url = f"https://user:password@drain-{number}.example/logs"
    return (
        Channel(channel_id),
        Token(f"t.{uuid}", channel_id, "app", number),
        Drain(number, channel_id, f"d.{uuid}", url),
    )
