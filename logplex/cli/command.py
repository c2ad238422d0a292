# SPDX-License-Identifier: Apache-2.0

"""
Declare commands and their common options, and find the node that a command talks to.

An option of the command line overrides an environment variable, and both override the user's
settings file.
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

from logplex.certificates import BadPem
from logplex.cli.client.api import Api, Asker
from logplex.cli.failures import BadSettings
from logplex.cli.runtime import Runtime
from logplex.hosts import host_and_port

DEFAULT_URL = "http://localhost:8002"
#: The port of ``POST /logs`` on the API's host, unless the user gives another URL.
LOGS_PORT = 8601

#: The path of the user's settings file, below the home directory.
SETTINGS_FILE = ".config/logplex.toml"
SETTINGS = ("url", "logs_url", "credential", "ca_file")

F = TypeVar("F", bound=Callable[..., Any])


@frozen
class Target:
    """
    The addresses and the credential with which a command reaches a node, or a load balancer before
    several nodes.

    :ivar url: the URL of API v3, without a slash at the end.
    :ivar logs_url: the URL of ``POST /logs``, without the path.
    :ivar credential: the id and the password.
    :ivar ca_file: the file of trusted certificate authorities; "" means the authorities of the
        system.
    """

    url: str
    logs_url: str
    credential: tuple[str, str] | None = field(repr=False)
    ca_file: str = ""


def read_settings(file: Path, must_exist: bool) -> dict[str, str]:
    """
    Return the settings in the user's settings file, by name.

    :param must_exist: true if a missing file is an error; false if a missing file counts as empty.
    :raise BadSettings: the file cannot be read, or contains something else than settings.
    """
    try:
        settings = tomllib.loads(file.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        if must_exist:
            raise BadSettings(f"{file}: there is no such file") from None
        return {}
    except OSError as error:
        raise BadSettings(f"{file}: {error.strerror}") from None
    except ValueError as error:  # not TOML, not UTF-8
        # An error of tomllib shows a line and column, never the text there.
        raise BadSettings(f"{file}: {error}") from None
    for name, value in settings.items():
        if name not in SETTINGS:
            raise BadSettings(f'{file}: unknown setting "{name}"; known are {", ".join(SETTINGS)}')
        if not isinstance(value, str):
            raise BadSettings(f"{file}: {name} must be a string")
    return settings


def make_target(settings: Mapping[str, str | None]) -> Target:
    """
    Return the target of a command: the addresses and the credential in the user's settings.

    :param settings: the values by the names in :data:`SETTINGS`. A missing or empty value gets its
        default.
    :raise BadSettings: a value cannot be used.
    """
    url = _base_url("url", settings.get("url") or DEFAULT_URL)
    logs_url = settings.get("logs_url")
    return Target(
        url,
        _base_url("logs_url", logs_url) if logs_url else _logs_url_beside(url),
        _credential(settings.get("credential")),
        settings.get("ca_file") or "",
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


def _logs_url_beside(url: str) -> str:
    """Return the URL of ``POST /logs`` on the host of API v3."""
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
    """
    The node that a command talks to, and the form in which its user wants the output.

    :ivar as_json: true to write JSON for scripts; false to write lines for people.
    """

    runtime: Runtime
    target: Target
    api: Api
    as_json: bool

    def show(self, value: object, lines: Iterable[str]) -> None:
        """
        Write the result of the command to standard output.

        :param value: the result for scripts, shown as JSON.
        :param lines: the result for people.
        """
        if self.as_json:
            click.echo(json.dumps(value))
        else:
            for line in lines:
                click.echo(line)


def examples(*lines: str) -> str:
    """
    Return example command lines for the end of a help text.

    Click does not wrap the lines of a paragraph that begins with ``\\b``.
    """
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


def checked(rule: Callable[[str], Any]) -> Callable[..., Any]:
    """
    Return a callback of Click that checks and converts the value of an option or argument.

    :param rule: a function that returns the converted value, or raises :class:`ValueError` with the
        reason. The function is called for each value. The error message does not show the value,
        which may be a secret.
    """

    def check(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        try:
            if isinstance(value, tuple):
                return tuple(map(rule, value))
            return None if value is None else rule(value)
        except ValueError as error:
            raise click.BadParameter(str(error), context, parameter) from None

    return check


def with_target(command: F) -> F:
    """
    Add the options that name a node to a command. The command gets the result as the argument
    ``target``.
    """

    @click.option(
        "--api",
        "api_url",
        envvar="LOGPLEX_URL",
        show_envvar=True,
        help="The URL of API v3. [default: localhost:8002]",
    )
    @click.option("--url", "old_api_url", metavar="URL", hidden=True)
    @click.option(
        "--logs-url",
        envvar="LOGPLEX_LOGS_URL",
        show_envvar=True,
        help="The URL that takes log lines. [default: port 8601 of the API's host]",
    )
    @click.option(
        "--credential",
        envvar="LOGPLEX_CREDENTIAL",
        show_envvar=True,
        metavar="ID:PASSWORD",
        help="Your credential. (Other users of this machine can see the options of a command.)",
    )
    @click.option(
        "--ca-file",
        envvar="LOGPLEX_CA_FILE",
        show_envvar=True,
        metavar="FILE",
        help="Authorities to trust, in PEM form. [default: those of the system]",
    )
    @click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        help=f"Your settings file, with these values. [default: ~/{SETTINGS_FILE}]",
    )
    @click.pass_obj
    @functools.wraps(command)
    def targeted(
        runtime: Runtime,
        /,
        *args: Any,
        api_url: str | None,
        old_api_url: str | None,
        logs_url: str | None,
        credential: str | None,
        ca_file: str | None,
        config: Path | None,
        **kwargs: Any,
    ) -> Any:
        if old_api_url is not None:
            _warn_of_old_name()
            api_url = old_api_url
        settings = read_settings(config or runtime.home / SETTINGS_FILE, config is not None)
        given = {
            "url": api_url,
            "logs_url": logs_url,
            "credential": credential,
            "ca_file": ca_file,
        }
        target = make_target({**settings, **{name: text for name, text in given.items() if text}})
        return command(runtime, *args, target=target, **kwargs)

    return targeted  # type: ignore[return-value]


def _warn_of_old_name() -> None:
    """
    Warn that the option ``--url`` is an old name of the option ``--api``.

    Stop the command if an argument is missing: the user may have meant ``--url`` for the URL of a
    drain, and the command would send the credential to this URL.

    :raise click.UsageError: an optional argument of the command is missing.
    """
    context = click.get_current_context()
    for parameter in context.command.params:
        if isinstance(parameter, click.Argument) and not context.params.get(parameter.name or ""):
            name = parameter.make_metavar(context)
            raise click.UsageError(f"--url is an old name of --api, and {name} is missing")
    warn("--url is an old name of --api, the URL of API v3")


def talks(conversation: Callable[..., Coroutine[Deferred[Any], Any, None]]) -> Callable[..., None]:
    """
    Make a command of a coroutine that sends requests to a node.

    :param conversation: the coroutine. Its arguments are the :class:`Remote`, then the command's
        own options and arguments.
    """

    @click.option("--json", "as_json", is_flag=True, help="JSON for scripts.")
    @with_target
    @functools.wraps(conversation)
    def command(
        runtime: Runtime, /, *args: Any, target: Target, as_json: bool, **kwargs: Any
    ) -> None:
        try:
            agent = runtime.agent(target.ca_file)
        except BadPem as bad:
            raise BadSettings(str(bad)) from None
        api = Api(Asker(agent, runtime.reactor), target.url, target.credential)
        remote = Remote(runtime, target, api, as_json)
        runtime.run(lambda: conversation(remote, *args, **kwargs))

    return command


def warn(text: str) -> None:
    """Write a line to standard error."""
    click.echo(f"logplex: {text}", err=True)


def table(rows: Iterable[Iterable[object]]) -> list[str]:
    """Return one line of text for each row, with aligned columns."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in texts
    ]
