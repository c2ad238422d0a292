# SPDX-License-Identifier: Apache-2.0

"""
``logplex drain``: the URLs that get a channel's messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from logplex.cli.client.lines import harmless
from logplex.cli.command import Remote, examples, table, talks
from logplex.cli.failures import Incomplete

#: The user and password of a URL. They are secret, and are hidden in the output for people.
_USER_INFO = re.compile(r"(?<=://)[^/?#]*@")


def drain_lines(drains: Sequence[dict[str, Any]]) -> list[str]:
    """Return a line for each drain, without the user and password of its URL."""
    return table(
        [
            each["id"],
            each["token"],
            _USER_INFO.sub("…@", each.get("url", "(reserved)")),
            "durable" if each.get("durable") else "",
        ]
        for each in drains
    )


@click.group(
    epilog=examples(
        "logplex drain add shop https://user:password@logs.example.com/shop",
        "logplex drain status shop 7",
    )
)
def drain() -> None:
    """Drains: the URLs that get a copy of every message of a channel."""


@drain.command(
    epilog=examples(
        "logplex drain add shop https://user:password@logs.example.com/shop",
        "logplex drain add shop syslog+tls://logs.example.com:6514",
        "logplex drain add --durable shop https://logs.example.com/shop",
        "logplex drain add shop",
    )
)
@click.argument("channel_id", metavar="CHANNEL")
@click.argument("url", required=False)
@click.option(
    "--durable", is_flag=True, help="Keep messages on the node's disk until the receiver has them."
)
@talks
async def add(remote: Remote, channel_id: str, url: str | None, durable: bool) -> None:
    """
    Add a drain, which sends the messages of CHANNEL to URL from now on.

    Without URL the drain is reserved: it has an id and a token, and "move" gives it a URL later.
    """
    body: dict[str, Any] = {} if url is None else {"url": url}
    if durable:
        body["durable"] = True
    added = await remote.api.post("channels", channel_id, "drains", **body)
    remote.show(added, drain_lines([added]))


@drain.command("list", epilog=examples("logplex drain list shop"))
@click.argument("channel_id", metavar="CHANNEL")
@talks
async def list_drains(remote: Remote, channel_id: str) -> None:
    """List the drains of CHANNEL that have a URL."""
    drains = (await remote.api.get("channels", channel_id)).get("drains", [])
    remote.show(drains, drain_lines(drains))


@drain.command(
    epilog=examples(
        "logplex drain move shop 7 https://other.example.com/shop",
        "logplex drain move shop 7 --durable",
    )
)
@click.argument("channel_id", metavar="CHANNEL")
@click.argument("drain_id", metavar="DRAIN", type=click.IntRange(0))
@click.argument("url", required=False)
@click.option(
    "--durable/--ordinary",
    default=None,
    help="Keep messages on the node's disk until the receiver has them, or in memory.",
)
@talks
async def move(
    remote: Remote, channel_id: str, drain_id: int, url: str | None, durable: bool | None
) -> None:
    """
    Set the URL of DRAIN of CHANNEL, or make it durable or ordinary. Its token stays the same.

    No message is lost by the change.
    """
    body = {"url": url, "durable": durable}
    body = {name: value for name, value in body.items() if value is not None}
    if not body:
        raise click.UsageError("give a URL, --durable or --ordinary")
    moved = await remote.api.put("channels", channel_id, "drains", str(drain_id), **body)
    remote.show(moved, drain_lines([moved]))


@drain.command(epilog=examples("logplex drain delete shop 7"))
@click.argument("channel_id", metavar="CHANNEL")
@click.argument("drain_id", metavar="DRAIN", type=click.IntRange(0))
@talks
async def delete(remote: Remote, channel_id: str, drain_id: int) -> None:
    """Delete DRAIN of CHANNEL. For some seconds it still sends its buffered messages."""
    await remote.api.delete("channels", channel_id, "drains", str(drain_id))
    remote.show({"id": drain_id, "deleted": True}, [f"deleted {drain_id}"])


@drain.command(epilog=examples("logplex drain status shop 7"))
@click.argument("channel_id", metavar="CHANNEL")
@click.argument("drain_id", metavar="DRAIN", type=click.IntRange(0))
@talks
async def status(remote: Remote, channel_id: str, drain_id: int) -> None:
    """Show the state, the counts and the last error of DRAIN of CHANNEL on this node."""
    shown = await remote.api.get("channels", channel_id, "drains", str(drain_id))
    remote.show(shown, table(_status_rows(shown)))


@drain.command(epilog=examples("logplex drain test shop 7"))
@click.argument("channel_id", metavar="CHANNEL")
@click.argument("drain_id", metavar="DRAIN", type=click.IntRange(0))
@talks
async def test(remote: Remote, channel_id: str, drain_id: int) -> None:
    """
    Send a test message to the receiver of DRAIN, and show its answer.

    The exit status is 5 if the message was not delivered.
    """
    tested = await remote.api.post("channels", channel_id, "drains", str(drain_id), "test")
    status = [] if tested["status"] is None else [f"status {tested['status']}"]
    said = [harmless(tested["said"])] if tested["said"] else []
    remote.show(tested, [*(["delivered"] if tested["delivered"] else []), *status, *said])
    if not tested["delivered"]:
        raise Incomplete(f"not delivered: {tested['error']}")


def _status_rows(status: dict[str, Any]) -> Iterator[tuple[str, object]]:
    for name, value in status.items():
        if name in _MOMENTS and value is not None:
            yield name, datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds")
        else:
            yield name, "-" if value is None else value


#: The members of a status that are times, in seconds since 1970.
_MOMENTS = frozenset({"last_success", "last_error_at", "since", "next_attempt"})
