"""
The declaration of commands, and the node that each of them talks to.

Options win over environment variables, and those over a TOML file, setting by setting.
"""

from __future__ import annotations

import functools
import json
import re
import tomllib
from collections.abc import Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click
from attrs import field, frozen
from twisted.internet.defer import Deferred

from logplex.cli.client.api import Api, Asker
from logplex.cli.failures import BadSettings
from logplex.cli.runtime import Runtime
from logplex.hosts import host_and_port

DEFAULT_URL = "http://localhost:8002"
#: The port of ``POST /logs`` on the API's host, where no other URL is given.
LOGS_PORT = 8601

#: Below the home directory.
SETTINGS_FILE = ".config/logplex.toml"
SETTINGS = ("url", "logs_url", "credential")

F = TypeVar("F", bound=Callable[..., Any])


@frozen
class Target:
    """
    A node, or what stands before several.

    :ivar url: of API v3, without a slash at the end.
    :ivar logs_url: of ``POST /logs``, without path.
    :ivar credential: id and password.
    """

    url: str
    logs_url: str
    credential: tuple[str, str] | None = field(repr=False)


def read_settings(file: Path, must_exist: bool) -> dict[str, str]:
    """
    Read the file.

    :param must_exist: somebody named it; otherwise a file that is missing is an empty one.
    :raise BadSettings: it cannot be read, or something else stands in it.
    """
    try:
        settings = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        if must_exist:
            raise BadSettings(f"{file}: there is no such file") from None
        return {}
    except OSError as error:
        raise BadSettings(f"{file}: {error.strerror}") from None
    except ValueError as error:  # not TOML, not UTF-8
        # The text of TOML's errors shows a place, never what stands there.
        raise BadSettings(f"{file}: {error}") from None
    for name, value in settings.items():
        if name not in SETTINGS:
            raise BadSettings(f'{file}: unknown setting "{name}"; it knows {", ".join(SETTINGS)}')
        if not isinstance(value, str):
            raise BadSettings(f"{file}: {name} must be a string")
    return settings


def make_target(settings: Mapping[str, str | None]) -> Target:
    """
    :param settings: of the names in :data:`SETTINGS`; what is missing or empty has its default.
    :raise BadSettings: one of them cannot be used.
    """
    url = _base_url("url", settings.get("url") or DEFAULT_URL)
    logs_url = settings.get("logs_url")
    return Target(
        url,
        _base_url("logs_url", logs_url) if logs_url else _beside(url),
        _credential(settings.get("credential")),
    )


def _base_url(name: str, url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not re.fullmatch(r"[!-~]+", url) or parts.query or parts.fragment:
        raise BadSettings(f'{name} must be a URL like "{DEFAULT_URL}"')
    if "@" in parts.netloc:
        raise BadSettings(f"{name} must have no user and password; there is --credential")
    return url.rstrip("/")


def _beside(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{host_and_port(parts.hostname or '', LOGS_PORT)}"


def _credential(text: str | None) -> tuple[str, str] | None:
    if not text:
        return None
    id, colon, password = text.strip().partition(":")
    if not (id and colon and password):
        raise BadSettings('the credential must be "ID:PASSWORD"')
    return id, password


@frozen
class Remote:
    """The node that a command talks to, and how its user wants to be told."""

    runtime: Runtime
    target: Target
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
    """Give a command the options that say which node to talk to, as its argument ``target``."""

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
    def with_target(
        runtime: Runtime,
        /,
        *args: Any,
        api_url: str | None,
        logs_url: str | None,
        credential: str | None,
        config: Path | None,
        **kwargs: Any,
    ) -> Any:
        settings = read_settings(config or runtime.home / SETTINGS_FILE, config is not None)
        given = {"url": api_url, "logs_url": logs_url, "credential": credential}
        target = make_target({**settings, **{name: text for name, text in given.items() if text}})
        return command(runtime, *args, target=target, **kwargs)

    return with_target  # type: ignore[return-value]


def talks(conversation: Callable[..., Coroutine[Deferred[Any], Any, None]]) -> Callable[..., None]:
    """
    Make a command of a conversation with a node: its first argument is the :class:`Remote`, the
    others are the command's own options.
    """

    @click.option("--json", "as_json", is_flag=True, help="JSON for scripts.")
    @where
    @functools.wraps(conversation)
    def command(
        runtime: Runtime, /, *args: Any, target: Target, as_json: bool, **kwargs: Any
    ) -> None:
        api = Api(Asker(runtime.client, runtime.reactor), target.url, target.credential)
        remote = Remote(runtime, target, api, as_json)
        runtime.run(lambda: conversation(remote, *args, **kwargs))

    return command


def table(rows: Iterable[Iterable[object]]) -> list[str]:
    """Lines of columns as wide as they must be."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in texts
    ]
