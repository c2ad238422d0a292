"""
How commands are declared: what all of them have in common.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click
from attrs import frozen
from twisted.internet.defer import Deferred

from logplex.cli.client.api import Api, Asker
from logplex.cli.place import SETTINGS_FILE, Place, make_place, read_settings
from logplex.cli.runtime import World

F = TypeVar("F", bound=Callable[..., Any])


@frozen
class Node:
    """The node that a command talks to, and how its user wants to be told."""

    world: World
    place: Place
    api: Api
    as_json: bool

    def show(self, value: object, lines: Iterable[str]) -> None:
        """
        Tell what came out.

        :param value: for scripts, as JSON.
        :param lines: for people.
        """
        if self.as_json:
            click.echo(json.dumps(value))
        else:
            for line in lines:
                click.echo(line)


def examples(*lines: str) -> str:
    """The end of a help text. What stands after a backslash and b is left as it is."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


def checked(rule: Callable[[str], Any]) -> Callable[..., Any]:
    """
    The callback of an option or argument: what it holds becomes what the rule makes of it.

    :param rule: raises :class:`ValueError`, saying what is wrong; the value itself, which may be a
        secret, is not shown. Where several values can be given it gets one after another.
    """

    def check(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        try:
            if isinstance(value, tuple):
                return tuple(map(rule, value))
            return None if value is None else rule(value)
        except ValueError as error:
            raise click.BadParameter(str(error), context, parameter) from None

    return check


def where(command: F) -> F:
    """Give a command the options that say which node to talk to, as its argument ``place``."""

    @click.option(
        "--url",
        "api_url",
        envvar="LOGPLEX_URL",
        show_envvar=True,
        help="API v3. [default: localhost:8002]",
    )
    @click.option(
        "--logs-url",
        envvar="LOGPLEX_LOGS_URL",
        show_envvar=True,
        help="What takes log lines. [default: port 8601 of the API's host]",
    )
    @click.option(
        "--credential",
        envvar="LOGPLEX_CREDENTIAL",
        show_envvar=True,
        metavar="ID:PASSWORD",
        help="As whom. (Others on this machine see a command's options.)",
    )
    @click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        help=f"A file with url, logs_url and credential. [default: ~/{SETTINGS_FILE}]",
    )
    @click.pass_obj
    @functools.wraps(command)
    def with_place(
        world: World,
        /,
        *args: Any,
        api_url: str | None,
        logs_url: str | None,
        credential: str | None,
        config: Path | None,
        **kwargs: Any,
    ) -> Any:
        settings = read_settings(config or world.home / SETTINGS_FILE, config is not None)
        given = {"url": api_url, "logs_url": logs_url, "credential": credential}
        place = make_place({**settings, **{name: text for name, text in given.items() if text}})
        return command(world, *args, place=place, **kwargs)

    return with_place  # type: ignore[return-value]


def talks(conversation: Callable[..., Coroutine[Deferred[Any], Any, None]]) -> Callable[..., None]:
    """
    Make a command of a conversation with a node: its first argument is the :class:`Node`, the
    others are the command's own options.
    """

    @click.option("--json", "as_json", is_flag=True, help="JSON for scripts.")
    @where
    @functools.wraps(conversation)
    def command(world: World, /, *args: Any, place: Place, as_json: bool, **kwargs: Any) -> None:
        api = Api(Asker(world.client, world.reactor), place.url, place.credential)
        node = Node(world, place, api, as_json)
        world.run(lambda: conversation(node, *args, **kwargs))

    return command


def table(rows: Iterable[Iterable[object]]) -> list[str]:
    """Lines of columns as wide as they must be."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in texts
    ]
