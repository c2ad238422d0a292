# SPDX-License-Identifier: Apache-2.0

"""
``logplex channel`` and ``logplex token``: channels, and the tokens to write into them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from logplex.cli.command import Remote, examples, table, talks
from logplex.cli.commands.drains import drain_lines
from logplex.cli.failures import NotFound
from logplex.model.values import CHANNEL_FLAGS


@click.group(
    epilog=examples(
        "logplex channel create shop --token app --token web",
        "logplex channel show shop",
    )
)
def channel() -> None:
    """Channels. A channel is a log stream, usually of one application."""


@channel.command(
    epilog=examples(
        "logplex channel create shop --token app --token heroku",
        "logplex channel create busy --token app --flag no_tail",
    )
)
@click.argument("channel_id", metavar="CHANNEL")
@click.option("--token", "tokens", multiple=True, metavar="NAME", help="Add a token of this name.")
@click.option(
    "--flag",
    "flags",
    multiple=True,
    type=click.Choice(sorted(CHANNEL_FLAGS)),
    help="Set this flag.",
)
@talks
async def create(
    remote: Remote, channel_id: str, tokens: tuple[str, ...], flags: tuple[str, ...]
) -> None:
    """
    Create CHANNEL, or add missing tokens to it if it exists.

    No token is removed.
    """
    try:
        known = (await remote.api.get("channels", channel_id)).get("tokens", {})
    except NotFound:
        known = {}
    # The API takes the whole set of names: tokens of other names are removed.
    body: dict[str, Any] = {"tokens": list(dict.fromkeys([*known, *tokens]))}
    if flags:
        body["flags"] = list(flags)
    made = await remote.api.put("channels", channel_id, **body)
    remote.show(made, _channel_lines(made))


@channel.command(epilog=examples("logplex channel show shop", "logplex channel show shop --json"))
@click.argument("channel_id", metavar="CHANNEL")
@talks
async def show(remote: Remote, channel_id: str) -> None:
    """Show CHANNEL with its tokens, drains and flags."""
    shown = await remote.api.get("channels", channel_id)
    remote.show(shown, _channel_lines(shown))


@channel.command(
    epilog=examples("logplex channel flags busy no_tail no_redis", "logplex channel flags busy")
)
@click.argument("channel_id", metavar="CHANNEL")
@click.argument("flags", nargs=-1, metavar="[FLAG]...", type=click.Choice(sorted(CHANNEL_FLAGS)))
@talks
async def flags(remote: Remote, channel_id: str, flags: tuple[str, ...]) -> None:
    """
    Set the flags of CHANNEL. All flags that are not named are cleared.

    \b
    no_tail   live tails are not allowed
    no_redis  its messages are not kept
    """
    await remote.api.get("channels", channel_id)  # PUT would create it
    changed = await remote.api.put("channels", channel_id, flags=list(flags))
    remote.show(changed, _channel_lines(changed))


@channel.command(epilog=examples("logplex channel delete shop"))
@click.argument("channel_id", metavar="CHANNEL")
@talks
async def delete(remote: Remote, channel_id: str) -> None:
    """Delete CHANNEL with its tokens, its drains and its recent messages."""
    await remote.api.delete("channels", channel_id)
    remote.show({"channel": channel_id, "deleted": True}, [f"deleted {channel_id}"])


@channel.command(epilog=examples("logplex channel activity shop"))
@click.argument("channel_id", metavar="CHANNEL")
@talks
async def activity(remote: Remote, channel_id: str) -> None:
    """
    Show what came for CHANNEL at this node, what was refused or dropped, and its drains.

    The counts are those since the start of the node. In a cluster, ask each node.
    """
    shown = await remote.api.get("channels", channel_id, "activity")
    remote.show(shown, _activity_lines(shown))


@click.group(
    epilog=examples(
        "logplex token add shop app",
        "logplex token list shop",
    )
)
def token() -> None:
    """Tokens. A token gives the right to write into one channel."""


@token.command("add", epilog=examples("logplex token add shop app"))
@click.argument("channel_id", metavar="CHANNEL")
@click.argument("name")
@talks
async def add_token(remote: Remote, channel_id: str, name: str) -> None:
    """
    Add a token to CHANNEL. Readers see NAME as the source of its messages.

    Older tokens of this name stay valid, so that you can rotate tokens without a gap.
    """
    added = await remote.api.post("channels", channel_id, "tokens", name=name)
    remote.show(added, [added["token"]])


@token.command("list", epilog=examples("logplex token list shop"))
@click.argument("channel_id", metavar="CHANNEL")
@talks
async def list_tokens(remote: Remote, channel_id: str) -> None:
    """
    List all tokens of CHANNEL by name. If several tokens have the same name, the newest token is
    last.
    """
    tokens = (await remote.api.get("channels", channel_id, "tokens"))["tokens"]
    tokens.sort(key=lambda each: each["name"])
    remote.show(tokens, table((each["name"], each["token"]) for each in tokens))


@token.command(
    "delete",
    epilog=examples(
        "logplex token delete shop t.86b1fa02-3c4f-4c7e-ba28-bbf6bfd4b8f1",
        "logplex token delete shop app",
    ),
)
@click.argument("channel_id", metavar="CHANNEL")
@click.argument("token")
@talks
async def delete_token(remote: Remote, channel_id: str, token: str) -> None:
    """Delete a TOKEN from CHANNEL, or all tokens that have this name."""
    tokens = (await remote.api.get("channels", channel_id, "tokens"))["tokens"]
    useless = [each["token"] for each in tokens if token in (each["token"], each["name"])]
    if not useless:
        raise NotFound("token not found")
    for each in useless:
        await remote.api.delete("channels", channel_id, "tokens", each)
    shown = {"channel": channel_id, "tokens": useless, "deleted": True}
    remote.show(shown, [f"deleted {each}" for each in useless])


def _activity_lines(shown: dict[str, Any]) -> Iterator[str]:
    yield f"channel   {shown['channel']} at {shown['node']}"
    yield f"received  {shown['received']}"
    for reason, messages in sorted(shown.get("dropped", {}).items()):
        yield f"dropped   {messages}  {reason}"
    for each in shown.get("refused", []):
        yield f"refused   {each['requests']}  {each['status']} {each['reason']}"
    yield f"tails     {shown['tails']}"
    names = ("received", "delivered", "dropped", "buffered")
    for line in table(
        [
            each["id"],
            each.get("to", "(reserved)"),
            each.get("state", ""),
            *(f"{name} {each.get(name, 0)}" for name in names),
            each.get("last_error", ""),
        ]
        for each in shown.get("drains", [])
    ):
        yield f"drain     {line}"


def _channel_lines(shown: dict[str, Any]) -> Iterator[str]:
    yield f"channel  {shown['channel']}"
    if shown.get("flags"):
        yield f"flags    {' '.join(shown['flags'])}"
    for line in table(sorted(shown.get("tokens", {}).items())):
        yield f"token    {line}"
    for line in drain_lines(shown.get("drains", [])):
        yield f"drain    {line}"
