"""
Which node to talk to, and as whom: from options, environment variables and a file in TOML.

Each of them wins over those after it, setting by setting.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from attrs import field, frozen

from logplex.cli.failures import BadSettings
from logplex.hosts import host_and_port

DEFAULT_URL = "http://localhost:8002"
#: The port of ``POST /logs`` on the API's host, where no other URL is given.
LOGS_PORT = 8601

#: Below the home directory.
SETTINGS_FILE = ".config/logplex.toml"
SETTINGS = ("url", "logs_url", "credential")


@frozen
class Place:
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


def make_place(settings: Mapping[str, str | None]) -> Place:
    """
    :param settings: of the names in :data:`SETTINGS`; what is missing or empty has its default.
    :raise BadSettings: one of them cannot be used.
    """
    url = _base_url("url", settings.get("url") or DEFAULT_URL)
    logs_url = settings.get("logs_url")
    return Place(
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
