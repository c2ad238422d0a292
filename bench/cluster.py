# SPDX-License-Identifier: Apache-2.0

"""
A cluster: how soon another node knows of a change of the configuration, what the first load takes,
and what a shard takes for writing and reading messages.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from itertools import chain, count, islice
from statistics import median
from typing import Any
from uuid import UUID

from attrs import frozen

from bench.load import MESSAGE_BYTES
from bench.measure import cpu_s, peak_rss_mb
from bench.parts import running_node, running_redis
from logplex.configuration.redis.keys import commands_of
from logplex.model.values import Channel, Drain, Put, Token, Value
from logplex.spool.cluster.wire.history import parse_history, reading
from logplex.spool.cluster.wire.scripts import (
    APPEND,
    KEEP,
    Batch,
    Origin,
    Piece,
    append_arguments,
)
from tests.integration.node import Node
from tests.integration.process import until
from tests.integration.redis_server import RedisServer

_CHANGES = 50
#: Channels in a call of the script, as a node makes them.
_CHANNELS = 100
#: Messages that are written before the cost is measured, so that streams are full and are cut.
_FULL = 2_000
_MEASURED = 40_000
_READINGS = 50
_KEPT = 1_500
_RETENTION_S = 604_800.0
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
    """Start a node on a Redis with this number of channels, a token and a drain each."""
    async with running_redis() as redis:
        await _fill(redis, channels)
        started = time.monotonic()
        async with running_node(_member(redis, "one")) as node:
            seconds = time.monotonic() - started
            health = (await node.request("GET", "/v3/health")).json()
            if health["known"]["drain"] != channels:
                raise AssertionError(f"the node knows {health['known']}")
            return Load(seconds, cpu_s(node.child.pid), peak_rss_mb(node.child.pid))


async def shard_us(messages: int) -> float:
    """
    Return the CPU of Redis for each message, in µs.

    :param messages: of each channel in a call; a call has 100 channels, which nobody follows.
    """
    async with running_redis() as redis:
        calls = _calls(messages)
        await _write(redis, calls, _FULL // messages)
        before_s = await _redis_cpu_s(redis)
        measured = max(1, _MEASURED // messages // _CHANNELS)
        await _write(redis, calls, measured)
        return (await _redis_cpu_s(redis) - before_s) / (measured * messages * _CHANNELS) * 1e6


async def recent_ms(messages: int) -> tuple[float, float]:
    """
    Return the CPU of Redis and of the reader for 1,500 recent messages of a channel, in ms.

    :param messages: so many were written at a time.
    """
    async with running_redis() as redis:
        await _write(redis, _calls(messages, channels=1), _FULL // messages)
        commands = reading(_channel(0), _ORIGIN, after=0)
        redis_s, own_s = await _redis_cpu_s(redis), time.process_time()
        for _ in range(_READINGS):
            *_, answer = await redis.ask_all(commands)
            if parse_history(answer).count < _KEPT:
                raise AssertionError("there is not enough to read")
        own_s = time.process_time() - own_s
        redis_s = await _redis_cpu_s(redis) - redis_s
    return redis_s / _READINGS * 1e3, own_s / _READINGS * 1e3


_ORIGIN = Origin(b"bench", b"0")


def _channel(number: int) -> str:
    return f"app-{UUID(int=number)}"


def _calls(messages: int, channels: int = _CHANNELS) -> Iterator[Batch]:
    """Yield batches for ever, each with a number of messages for each channel."""
    texts = [b"x" * MESSAGE_BYTES] * messages
    pieces = [Piece.pack(_channel(number), KEEP, texts) for number in range(channels)]
    for number in count(1):
        yield Batch(number, pieces, messages * channels, 0)


async def _write(redis: RedisServer, batches: Iterator[Batch], calls: int) -> None:
    for batch in islice(batches, calls):
        arguments = append_arguments(_ORIGIN, batch, "logplex:live:0:", _KEPT, _RETENTION_S)
        if batch.number == 1:
            await redis.ask("SCRIPT", "LOAD", APPEND.source)
        await redis.ask("EVALSHA", APPEND.sha, 0, *arguments)


async def _redis_cpu_s(redis: RedisServer) -> float:
    info = (await redis.ask("INFO", "cpu")).decode()
    fields = dict(line.split(":") for line in info.split() if ":" in line)
    return float(fields["used_cpu_user"]) + float(fields["used_cpu_sys"])


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
