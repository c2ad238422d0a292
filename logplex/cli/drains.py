"""
``logplex drain``: where a channel's messages are pushed to.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import click

from logplex.cli.commands import Node, examples, table, talks

#: The user info of a URL is a secret that need not stand on a screen.
_USER_INFO = re.compile(r"(?<=://)[^/?#]*@")


def drain_lines(drains: Sequence[dict[str, Any]]) -> list[str]:
    """Drains for people; ``--json`` shows URLs whole."""
    return table(
        [each["id"], each["token"], _USER_INFO.sub("…@", each.get("url", "(reserved)"))]
        for each in drains
    )


@click.group()
def drain() -> None:
    """Drains: where a channel's messages are pushed to."""


@drain.command(
    epilog=examples(
        "logplex drain add shop https://user:password@logs.example.com/shop",
        "logplex drain add shop syslog+tls://logs.example.com:6514",
        "logplex drain add shop",
    )
)
@click.argument("channel_id", metavar="CHANNEL")
@click.argument("url", required=False)
@talks
async def add(node: Node, channel_id: str, url: str | None) -> None:
    """
    Push CHANNEL's messages to URL from now on.

    Without URL a drain is reserved: it has an id and a token, and gets its URL by "move" later.
    """
    body = {} if url is None else {"url": url}
    added = await node.api.post("channels", channel_id, "drains", **body)
    node.show(added, drain_lines([added]))


@drain.command("list", epilog=examples("logplex drain list shop"))
@click.argument("channel_id", metavar="CHANNEL")
@talks
async def list_drains(node: Node, channel_id: str) -> None:
    """List CHANNEL's drains. Reserved ones are not shown."""
    drains = (await node.api.get("channels", channel_id)).get("drains", [])
    node.show(drains, drain_lines(drains))


@drain.command(epilog=examples("logplex drain move shop 7 https://other.example.com/shop"))
@click.argument("channel_id", metavar="CHANNEL")
@click.argument("drain_id", metavar="DRAIN", type=click.IntRange(0))
@click.argument("url")
@talks
async def move(node: Node, channel_id: str, drain_id: int, url: str) -> None:
    """Give DRAIN of CHANNEL its URL, or another one. Its token stays."""
    moved = await node.api.put("channels", channel_id, "drains", str(drain_id), url=url)
    node.show(moved, drain_lines([moved]))


@drain.command(epilog=examples("logplex drain delete shop 7"))
@click.argument("channel_id", metavar="CHANNEL")
@click.argument("drain_id", metavar="DRAIN", type=click.IntRange(0))
@talks
async def delete(node: Node, channel_id: str, drain_id: int) -> None:
    """Delete DRAIN of CHANNEL. What it has buffered is still sent, for some seconds."""
    await node.api.delete("channels", channel_id, "drains", str(drain_id))
    node.show({"id": drain_id, "deleted": True}, [f"deleted {drain_id}"])
