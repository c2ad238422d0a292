"""
``logplex send``: standard input into a channel, line by line.
"""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Callable
from uuid import uuid4

import click
from twisted.internet.defer import Deferred

from logplex.cli.client.frames import Form, LineCutter
from logplex.cli.client.shuttle import Shuttle, deliver_all
from logplex.cli.command import Node, checked, examples, talks
from logplex.cli.commands.standard_input import StandardInput
from logplex.cli.failures import Incomplete


def word(max_characters: int) -> Callable[[str], str]:
    """A field of a message (RFC 5424 §6.2): printable ASCII without space."""

    def rule(value: str) -> str:
        if not re.fullmatch(r"[!-~]+", value) or len(value) > max_characters:
            raise ValueError(f"must be 1 to {max_characters} printable characters without space")
        return value

    return rule


@click.command(
    epilog=examples(
        "my-program 2>&1 | LOGPLEX_TOKEN=t.… logplex send",
        "logplex send --token t.… --ps cron.backup <backup.log",
    )
)
@click.option(
    "--token",
    envvar="LOGPLEX_TOKEN",
    show_envvar=True,
    required=True,
    callback=checked(word(255)),
    help="The right to write into a channel. (Others on this machine see a command's options.)",
)
@click.option(
    "--ps", "procid", callback=checked(word(128)), default="send", help="The process that is shown."
)
@click.option(
    "--host", callback=checked(word(255)), help="Where it runs. [default: this machine's name]"
)
@click.option(
    "--pri",
    type=click.IntRange(0, 191),
    default=14,
    show_default=True,
    help="Facility times 8 plus severity.",
)
@talks
async def send(node: Node, token: str, procid: str, host: str | None, pri: int) -> None:
    """
    Send every line of standard input as a message.

    Lines go in batches, each until the node has taken it, for up to two minutes; a batch that was
    taken is not taken twice. Lines that are too long for one message become several. What could
    not be delivered is told with its number, and the exit status is not 0.
    """
    form = Form(pri, host or socket.gethostname() or "-", token, procid)
    cutter = LineCutter(form.max_line_bytes)

    trouble: OSError | None = None

    def ended(error: OSError | None) -> None:
        nonlocal trouble
        trouble = error
        shuttle.push(cutter.end())
        shuttle.end()

    source = StandardInput(
        node.world.reactor,
        sys.stdin.fileno(),
        lambda chunk: shuttle.push(cutter.cut(chunk)),
        ended,
    )
    shuttle = Shuttle(
        node.api.asker,
        node.place.logs_url,
        token,
        form,
        node.world.reactor,
        lambda: uuid4().hex.upper(),
        source.pause,
        source.resume,
    )
    source.resume()
    try:
        await Deferred.fromCoroutine(deliver_all(shuttle))
    finally:
        source.pause()
    if trouble is not None:
        raise Incomplete(
            f"standard input cannot be read: {trouble.strerror};"
            f" {shuttle.delivered} lines were delivered"
        )
    node.show({"delivered": shuttle.delivered}, [])
