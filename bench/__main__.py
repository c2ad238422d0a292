# SPDX-License-Identifier: Apache-2.0

"""
``python -m bench``: what a node needs for its work, on this machine, now.

Everything runs on loopback, in processes of its own that are gone at the end.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from bench.cluster import change_ms, first_load, recent_ms, shard_us
from bench.load import MESSAGE_BYTES
from bench.scenarios import Scenario, idle_rss_mb, middle, own_cost, run, soak
from bench.tails import TailResult, delivered, delivered_by_two, idle_kb_per_tail

#: Messages a second of the paced lines: below what one core can do, so that nothing is dropped
#: while the receivers keep up.
_RATE = 40_000.0

#: The same for a single drain: the 1,024 messages of its buffer must bridge the moments in which
#: its receiver gets no processor.
_RATE_OF_ONE = 20_000.0

_COLUMNS = (
    "messages/s",
    "CPU µs/msg",
    "of a core",
    "Redis µs/msg",
    "lost",
    "requests/s",
    "msgs/request",
    "peak MB",
)

#: The names of the parts about tails, for ``--only``.
TAILS = "tails of one channel"
TWO_NODES = "100 tails over two nodes"
#: And of that about the configuration in Redis.
CONFIGURATION = "configuration in Redis"
_LOADED_CHANNELS = 100_000
#: And of that about a shard.
SHARD = "a shard"
_TAIL_RATE = 5_000.0
_TAIL_SECONDS = 10.0
_TAIL_COLUMNS = (
    "CPU µs/line",
    "of a core",
    "Redis µs/line",
    "p50 ms",
    "p99 ms",
    "lost",
    "doubled",
)

SCENARIOS = [
    Scenario("TCP in, no drain", "syslog", 1, None, None, 1_000_000),
    Scenario("TCP in, no drain, 1,000 channels", "syslog", 1_000, None, None, 1_000_000),
    Scenario("TCP in, 1 HTTP drain", "syslog", 1, "http", _RATE_OF_ONE, 100_000),
    Scenario("TCP in, 10 channels, 10 HTTP drains", "syslog", 10, "http", _RATE, 200_000),
    Scenario("the same, as fast as it takes", "syslog", 10, "http", None, 500_000),
    Scenario(
        "100 connections in, 10 HTTP drains",
        "syslog",
        10,
        "http",
        20_000.0,
        100_000,
        connections=100,
    ),
    Scenario("TCP in, 10 channels, 10 syslog drains", "syslog", 10, "tcp", _RATE, 200_000),
    Scenario("TCP in, 200 channels, 200 HTTP drains", "syslog", 200, "http", 2_000.0, 10_000),
    Scenario("TCP in, 10 HTTP drains, Redis", "syslog", 10, "http", _RATE, 200_000, redis=True),
    Scenario(
        "TCP in, 1,000 channels, 100 HTTP drains, Redis",
        "syslog",
        1_000,
        "http",
        _RATE,
        200_000,
        drained=100,
        redis=True,
    ),
    Scenario("POST in (500 each), 1 HTTP drain", "post", 1, "http", _RATE_OF_ONE, 100_000),
]


async def main(arguments: argparse.Namespace) -> None:
    print(f"{platform.python_implementation()} {platform.python_version()}, {platform.machine()};")
    print(f"messages of {MESSAGE_BYTES} bytes; medians of {arguments.runs} runs")
    if arguments.soak:
        await _soak(arguments.soak)
        return
    await _own_costs()
    await _table(arguments.runs, arguments.only)
    if not arguments.only:
        empty, full = await idle_rss_mb(1_000)
        print(f"\nidle: {empty:.0f} MB without channels, {full:.0f} MB with 1,000 connected drains")
    if arguments.only in TAILS:
        await _tails()
    if arguments.only in TWO_NODES:
        await _tails_over_two_nodes()
    if arguments.only in CONFIGURATION:
        await _configuration()
    if arguments.only in SHARD:
        await _shard()


async def _own_costs() -> None:
    print("\nthe benchmark's own parts, against each other (CPU µs a message):")
    for how, kind in (("syslog", "tcp"), ("post", "http")):
        generator, sink = await own_cost(how, kind, 1_000_000)
        print(f"  {how} generator {generator:.2f}, {kind} sink {sink:.2f}")


async def _table(runs: int, only: str) -> None:
    print(f"\n{'':38}" + "".join(f"{title:>14}" for title in _COLUMNS))
    for scenario in SCENARIOS:
        if only not in scenario.name:
            continue
        result = middle([await run(scenario) for _ in range(runs)])
        company = scenario.messages / result.requests if result.requests else 0.0
        columns = (
            f"{result.messages_per_s:,.0f}",
            f"{result.cpu_us_per_message:.2f}",
            f"{result.messages_per_s * result.cpu_us_per_message / 1e6:.0%}",
            f"{result.redis_cpu_us_per_message:.2f}",
            f"{result.lost:,.0f}",
            f"{result.messages_per_s / company if company else 0:,.0f}",
            f"{company:,.0f}",
            f"{result.peak_rss_mb:.0f}",
        )
        print(f"{scenario.name:38}" + "".join(f"{text:>14}" for text in columns), flush=True)


async def _tails() -> None:
    _tail_head(f"{TAILS}, {_TAIL_RATE:,.0f} messages/s")
    for tails in (1, 100):
        _tail_line(str(tails), await delivered(tails, _TAIL_RATE, _TAIL_SECONDS))
    print(f"\nidle: {await idle_kb_per_tail(5_000):.1f} kB for each of 5,000 tails")


async def _tails_over_two_nodes() -> None:
    _tail_head(TWO_NODES)
    for rate in (1_000.0, _TAIL_RATE):
        for inputs, where in ((1, "one"), (2, "both")):
            result = await delivered_by_two(100, rate, _TAIL_SECONDS, inputs)
            _tail_line(f"{rate:,.0f} messages/s, input on {where}", result)


async def _configuration() -> None:
    print(f"\n{CONFIGURATION}")
    typical, longest = await change_ms()
    print(f"  the other node knows of a change after {typical:.0f} ms, {longest:.0f} at most")
    load = await first_load(_LOADED_CHANNELS)
    print(
        f"  first load of {_LOADED_CHANNELS:,} channels with a token and a drain each:"
        f" {load.seconds:.1f} s, {load.cpu_s:.1f} s of CPU, {load.peak_rss_mb:.0f} MB at most"
    )


async def _shard() -> None:
    print(
        f"\n{SHARD}: CPU of Redis for messages of {MESSAGE_BYTES} bytes, in calls of 100 channels"
    )
    for messages in (1, 10, 40, 400):
        us = await shard_us(messages)
        print(f"  {messages} messages of each channel: {us:.2f} µs a message")
    for messages in (1, 10, 40):
        redis_ms, own_ms = await recent_ms(messages)
        print(
            f"  1,500 recent messages, written {messages} at a time:"
            f" {redis_ms:.2f} ms of Redis, {own_ms:.2f} ms of the reader"
        )


def _tail_head(title: str) -> None:
    print(f"\n{title:38}" + "".join(f"{column:>14}" for column in _TAIL_COLUMNS))


def _tail_line(name: str, result: TailResult) -> None:
    columns = (
        f"{result.cpu_us_per_line:.2f}",
        f"{result.cpu_share:.0%}",
        f"{result.redis_cpu_us_per_line:.2f}",
        f"{result.p50_ms:.1f}",
        f"{result.p99_ms:.1f}",
        f"{result.lost:,.0f}",
        f"{result.doubled:,.0f}",
    )
    print(f"{name:38}" + "".join(f"{text:>14}" for text in columns), flush=True)


async def _soak(messages: int) -> None:
    print(f"\n{messages:,} messages, 10 channels with 10 HTTP drains, as fast as they are taken")
    async for sent, rss in soak(messages, steps=10):
        print(f"{sent:14,} sent {rss:10.1f} MB", flush=True)


def _arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="how often each line is measured")
    parser.add_argument("--only", default="", help="lines whose name has this in it")
    parser.add_argument("--soak", type=int, metavar="MESSAGES", help="only this: is memory flat?")
    return parser.parse_args(argv)


if __name__ == "__main__":
    given = _arguments()
    react(lambda _: Deferred.fromCoroutine(main(given)))
