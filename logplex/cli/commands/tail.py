# SPDX-License-Identifier: Apache-2.0

"""
``logplex tail``: show a channel's recent and live lines.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from random import random

import click

from logplex.cli.client.events import Event
from logplex.cli.client.follow import Follower
from logplex.cli.client.lines import Filter, Painter, parse_line
from logplex.cli.command import Remote, examples, talks, warn


def as_json(event: Event) -> str:
    """Return an event as a line of JSON."""
    line = parse_line(event.data)
    return json.dumps(
        {
            "id": None if event.id is None else event.id.decode("ascii", "replace"),
            "time": line.time,
            "source": line.source,
            "ps": line.ps,
            "message": line.message,
        }
    )


def _wants_colour(choice: str) -> bool:
    if choice == "auto":
        return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return choice == "always"


@click.command(
    epilog=examples(
        "logplex tail shop",
        "logplex tail shop --num 1000 --no-follow --json >shop.json",
        "logplex tail shop --source app --ps web --ps worker --exclude web.7",
    )
)
@click.argument("channel_id", metavar="CHANNEL")
@click.option(
    "--num",
    "-n",
    type=click.IntRange(0, 1_000_000),
    default=100,
    show_default=True,
    help="The number of recent lines.",
)
@click.option("--source", "sources", multiple=True, metavar="NAME", help="Show only this source.")
@click.option(
    "--ps",
    "processes",
    multiple=True,
    metavar="NAME",
    help='Show only this process; "web" includes web.1.',
)
@click.option(
    "--exclude", "excluded", multiple=True, metavar="NAME", help="Hide this source or process."
)
@click.option("--no-follow", is_flag=True, help="Show recent lines only.")
@click.option(
    "--color",
    "colour",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    help="Show heads in colour. [default: on a terminal, unless NO_COLOR is set]",
)
@talks
async def tail(
    remote: Remote,
    channel_id: str,
    num: int,
    sources: tuple[str, ...],
    processes: tuple[str, ...],
    excluded: tuple[str, ...],
    no_follow: bool,
    colour: str,
) -> None:
    """
    Show the recent lines of CHANNEL, and then its live lines, until Ctrl-C.

    After a lost connection the lines continue where it was lost. No line comes twice, and if lines
    are missing, standard error says so. --source, --ps and --exclude can be given several times.
    """
    painter = Painter() if _wants_colour(colour) else None

    def tell(events: Sequence[Event]) -> None:
        """Write all lines in one call: a call for each line would be the largest cost of a tail."""
        if remote.as_json:
            click.echo("\n".join(map(as_json, events)))
        elif painter is not None:
            lines = [painter.paint(parse_line(event.data)) for event in events]
            click.echo("\n".join(lines), color=True)
        else:
            click.echo(b"\n".join([event.data for event in events]))

    follower = Follower(
        remote.api,
        channel_id,
        Filter(sources, processes, excluded),
        tell,
        warn,
        random,
    )
    await follower.history(num)
    if not no_follow:
        await follower.live()
