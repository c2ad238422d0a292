# SPDX-License-Identifier: Apache-2.0

"""
``python -m bench.compare BEFORE AFTER``: two checkouts against each other, on this machine, now.

Each line is measured in both, in turn, so that what else the machine does burdens both alike. A
checkout needs its own virtualenv (``make .venv/.installed-bench``) and is measured by its own
``bench``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

#: Prints a scenario's CPU microseconds a message, peak MB, and messages lost.
_SCENARIO = """
import json, sys
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from bench.__main__ import SCENARIOS
from bench.scenarios import run

async def main():
    scenario, = [each for each in SCENARIOS if each.name == sys.argv[1]]
    result = await run(scenario)
    print(json.dumps([result.cpu_us_per_message, result.peak_rss_mb, result.lost]))

react(lambda _: Deferred.fromCoroutine(main()))
"""

#: Prints the MB of a node without channels, and of one with 1,000 connected drains.
_IDLE = """
import json
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from bench.scenarios import idle_rss_mb

async def main():
    print(json.dumps(await idle_rss_mb(1_000)))

react(lambda _: Deferred.fromCoroutine(main()))
"""

#: Prints the seconds until a node of this checkout is healthy.
_START = """
import json, time
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from bench.parts import running_node

async def main():
    begun = time.monotonic()
    async with running_node({}):
        print(json.dumps([time.monotonic() - begun]))

react(lambda _: Deferred.fromCoroutine(main()))
"""

SCENARIOS = (
    "TCP in, no drain",
    "TCP in, no drain, 1,000 channels",
    "TCP in, 10 channels, 10 HTTP drains",
    "the same, as fast as it takes",
    "100 connections in, 10 HTTP drains",
    "TCP in, 10 channels, 10 syslog drains",
    "TCP in, 10 HTTP drains, Redis",
    "POST in (500 each), 1 HTTP drain",
)

#: No single measurement takes longer.
_TIMEOUT_S = 180


def measured(checkout: Path, script: str, *arguments: str) -> list[float]:
    """Return the numbers that a script prints which runs in a checkout."""
    done = subprocess.run(
        [checkout / ".venv/bin/python", "-c", script, *arguments],
        cwd=checkout,
        capture_output=True,
        timeout=_TIMEOUT_S,
        check=True,
    )
    numbers: list[float] = json.loads(done.stdout.decode().splitlines()[-1])
    return numbers


def version_times(checkout: Path) -> list[float]:
    """Return how many milliseconds ``logplex --version`` takes, and how many of a processor."""
    begun, used = time.monotonic(), sum(os.times()[2:4])
    subprocess.run([checkout / ".venv/bin/logplex", "--version"], check=True, capture_output=True)
    return [1e3 * (time.monotonic() - begun), 1e3 * (sum(os.times()[2:4]) - used)]


def _spread(values: list[float]) -> str:
    return f"{min(values):.2f} / {median(values):.2f} / {max(values):.2f}"


def compare(
    name: str,
    units: Sequence[str],
    checkouts: Sequence[Path],
    runs: int,
    measure: Callable[[Path], list[float]],
) -> None:
    """Measure both in turn, and print minimum, median and maximum of each number."""
    results: list[list[list[float]]] = [[], []]
    for number in range(runs):
        # The first one changes, so that neither always comes second.
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            results[which].append(measure(checkouts[which]))
    for column, unit in enumerate(units):
        texts = [_spread([row[column] for row in result]) for result in results]
        print(f"{name:40}{unit:12}{texts[0]:>32}{texts[1]:>32}", flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--runs", type=int, default=5, help="how often each line is measured")
    parser.add_argument("--only", default="", help="lines whose name has this in it")
    given = parser.parse_args(argv)
    both = [given.before.resolve(), given.after.resolve()]
    print(f"load of the machine: {os.getloadavg()[0]:.1f}; minimum / median / maximum")
    print(f"{'':52}{'before':>32}{'after':>32}")
    for scenario in SCENARIOS:
        if given.only in scenario:
            compare(
                scenario,
                ("CPU µs/msg", "peak MB", "lost"),
                both,
                given.runs,
                lambda checkout, name=scenario: measured(checkout, _SCENARIO, name),  # type: ignore[misc]
            )
    if given.only in "idle":
        compare("idle", ("MB", "MB, 1,000"), both, given.runs, lambda each: measured(each, _IDLE))
    if given.only in "start until healthy":
        compare(
            "start until healthy", ("s",), both, given.runs, lambda each: measured(each, _START)
        )
    if given.only in "logplex --version":
        compare("logplex --version", ("ms", "CPU ms"), both, given.runs * 3, version_times)
    print(f"load of the machine: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
