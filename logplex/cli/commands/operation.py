# SPDX-License-Identifier: Apache-2.0

"""
``logplex health``, ``rod`` and ``shards``: watch and switch running nodes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import click

from logplex.cli.command import Remote, checked, examples, table, talks
from logplex.cli.failures import Incomplete
from logplex.model.rods import Position, Rods, check_position

#: The environment variable with the URLs of a node's shards, separated by commas.
SHARD_URLS = "LOGPLEX_SHARD_URLS"


@click.command(epilog=examples("logplex health", "logplex health --json --api http://node-2:8002"))
@talks
async def health(remote: Remote) -> None:
    """
    Show the health of the node and of its parts.

    The exit status is 0 if everything works, 5 if a part does not, 3 if the node does not work.
    """
    report = await remote.api.get("health")
    remote.show(report, table(_rows(report)))
    if report["troubles"]:
        raise Incomplete(f"troubled: {'; '.join(report['troubles'])}")


def _rows(report: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    """
    Yield the name and the value of every member of a report. A member of a nested object has the
    name ``object.name``.
    """
    for name, value in report.items():
        if isinstance(value, dict):
            yield from _rows(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield from ((prefix + name, each) for each in value)
        else:
            yield prefix + name, _shown(value)


def _shown(value: object) -> object:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else value


@click.group(
    epilog=examples(
        "logplex rod show",
        "logplex rod set deny_tail_sessions=true --cluster",
    )
)
def rod() -> None:
    """Control rods: switches of running nodes."""


_cluster = click.option("--cluster", is_flag=True, help="On every node, also after a restart.")


@rod.command("show", epilog=examples("logplex rod show"))
@talks
async def show_rods(remote: Remote) -> None:
    """Show the position of each control rod, and if it was thrown for the node or the cluster."""
    answer = await remote.api.get("rods")
    remote.show(answer, _rod_lines(answer))


def throw(value: str) -> tuple[str, Position]:
    """
    Return the rod and the position in a text of the form ``ROD=POSITION``.

    :raise ValueError: the rod does not exist, or does not have this position.
    """
    name, _, text = value.partition("=")
    positions: dict[str, Position] = {"true": True, "false": False}
    return name, check_position(name, positions.get(text, text))


@rod.command(
    "set",
    epilog=examples(
        "logplex rod set deny_tail_sessions=true",
        "logplex rod set api_status=read_only legacy_api_status=read_only --cluster",
    ),
)
@click.argument(
    "throws", metavar="ROD=POSITION...", nargs=-1, required=True, callback=checked(throw)
)
@_cluster
@talks
async def set_rods(remote: Remote, throws: tuple[tuple[str, Position], ...], cluster: bool) -> None:
    """
    Throw control rods. Without --cluster they stay thrown until the node restarts.

    \b
    deny_redis_buffers     true, false: recent messages are not kept
    deny_tail_sessions     true, false: no sessions and no tails
    deny_drain_forwarding  true, false: drains get no messages
    deny_logs_ingress      true, false: no messages are taken
    disable_firehose       true, false: no copies of messages
    api_status             normal, read_only, disabled
    legacy_api_status      normal, read_only, disabled
    """
    await _throw(remote, dict(throws), cluster)


@rod.command(epilog=examples("logplex rod reset deny_tail_sessions", "logplex rod reset --cluster"))
@click.argument("names", metavar="[ROD]...", nargs=-1, type=click.Choice(list(Rods().positions())))
@_cluster
@talks
async def reset(remote: Remote, names: tuple[str, ...], cluster: bool) -> None:
    """
    Reset the named control rods, or all control rods, to the positions in the node's settings.
    """
    await _throw(remote, dict.fromkeys(names or Rods().positions()), cluster)


@rod.command("end-tails", epilog=examples("logplex rod end-tails"))
@talks
async def end_tails(remote: Remote) -> None:
    """End every open tail of the node. Clients may open new tails."""
    await remote.api.delete("tails")
    remote.show({"ended": True}, ["ended all tails"])


async def _throw(remote: Remote, rods: dict[str, Any], cluster: bool) -> None:
    scope = "cluster" if cluster else "node"
    answer = await remote.api.put("rods", rods=rods, scope=scope)
    remote.show(answer, _rod_lines(answer))


def _rod_lines(answer: dict[str, Any]) -> list[str]:
    def thrown_by(name: str) -> str:
        if name in answer["thrown"]:
            return "(node)"
        return "(cluster)" if name in answer["shared"] else ""

    return table(
        [name, _shown(position), thrown_by(name)] for name, position in answer["rods"].items()
    )


@click.group(
    epilog=examples(
        "logplex shards prepare redis://a.example.com redis://b.example.com",
        "logplex shards commit",
    )
)
def shards() -> None:
    """
    Show and replace the Redis shards of a running node.

    The steps are prepare, commit, make-permanent. Finish each step on every node before the next
    step on any node.
    """


@shards.command("show", epilog=examples("logplex shards show --api http://node-2:8002"))
@talks
async def show_shards(remote: Remote) -> None:
    """Show the step of the replacement on the node, and the shards that are away."""
    _tell_step(remote, await remote.api.get("shards"))


@shards.command(
    epilog=examples(
        "logplex shards prepare redis://a:6379 redis://b:6379",
        f"{SHARD_URLS}=redis://:password@a,redis://:password@b logplex shards prepare",
    )
)
@click.argument("urls", metavar="[URL]...", nargs=-1)
@talks
async def prepare(remote: Remote, urls: tuple[str, ...]) -> None:
    """
    Connect to all shards of the new ring. Messages still go to the old ring.

    Without arguments the URLs come from the environment variable LOGPLEX_SHARD_URLS, separated by
    commas. Prefer it for URLs with passwords: other users of this machine can see the arguments of
    a command.
    """
    given = urls or tuple(filter(None, os.environ.get(SHARD_URLS, "").split(",")))
    if not given:
        raise click.UsageError(f"give the URLs of the shards, or set {SHARD_URLS}")
    _tell_step(remote, await remote.api.post("shards", step="prepare", urls=list(given)))


@shards.command(epilog=examples("logplex shards commit"))
@talks
async def commit(remote: Remote) -> None:
    """Switch to the new ring. Messages on the old ring can still be read."""
    _tell_step(remote, await remote.api.post("shards", step="commit"))


@shards.command(epilog=examples("logplex shards make-permanent"))
@talks
async def make_permanent(remote: Remote) -> None:
    """Disconnect from the old ring, and keep only the new ring."""
    _tell_step(remote, await remote.api.post("shards", step="make_permanent"))


@shards.command(epilog=examples("logplex shards abort"))
@talks
async def abort(remote: Remote) -> None:
    """Undo the last step of the replacement of the shards."""
    _tell_step(remote, await remote.api.post("shards", step="abort"))


def _tell_step(remote: Remote, answer: dict[str, Any]) -> None:
    remote.show(answer, [answer["step"], *answer.get("troubles", [])])
