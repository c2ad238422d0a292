# SPDX-License-Identifier: Apache-2.0

"""
Define the options of the settings: each with a default value and a rule for its value.

Most public functions define an option: a field of a settings class. The loader checks the type of a
value before it checks the rule.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from ipaddress import ip_network
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from attrs import Attribute, field
from twisted.internet.endpoints import serverFromString

from logplex.hosts import split_hosts
from logplex.model.values import (
    ANY_CHANNEL,
    ANY_CHANNEL_PERMISSION,
    FULL_API,
    ONE_CHANNEL_PREFIX,
    is_id,
)

Number = TypeVar("Number", int, float)
Value = TypeVar("Value")

_PRINTABLE = re.compile(r"[!-~]+")
_ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


class OptionError(ValueError):
    """
    An option has a value that its rule forbids.

    :ivar path: the names of the nested options that lead to the wrong value.
    """

    def __init__(self, why: str, *path: str) -> None:
        super().__init__(why)
        self.path = path


def checked(rule: Callable[[Value], None]) -> Callable[[Any, Attribute[Value], Value], None]:
    """
    Return a validator for a field of an attrs class.

    :param rule: a function that raises :class:`ValueError`, with the reason, for a forbidden value.
    """

    def check(_: object, attribute: Attribute[Value], value: Value) -> None:
        try:
            rule(value)
        except ValueError as error:
            raise OptionError(str(error), attribute.name) from None

    return check


def option(default: Value, rule: Callable[[Value], None], **how: Any) -> Value:
    """
    Define an option whose value must obey a rule.

    :param how: further arguments of :func:`attrs.field`.
    """
    made: Value = field(default=default, validator=checked(rule), **how)
    return made


def positive(default: Number) -> Number:
    """Define an option whose value is a number above 0."""

    def rule(value: Number) -> None:
        if not (value > 0 and math.isfinite(value)):
            raise ValueError(f"must be above 0, not {value}")

    return option(default, rule)


def not_negative(default: Number) -> Number:
    """Define an option whose value is a number of at least 0."""

    def rule(value: Number) -> None:
        if not (value >= 0 and math.isfinite(value)):
            raise ValueError(f"must be at least 0, not {value}")

    return option(default, rule)


def each_not_negative(default: tuple[float, ...]) -> tuple[float, ...]:
    """Define an option whose value is a list of numbers of at least 0."""

    def rule(values: tuple[float, ...]) -> None:
        for value in values:
            if not (value >= 0 and math.isfinite(value)):
                raise ValueError(f"must be at least 0, not {value}")

    return option(default, rule)


def one_of(choices: Iterable[str], default: str) -> str:
    """Define an option whose value is one of some words."""
    words = tuple(choices)

    def rule(value: str) -> None:
        if value not in words:
            raise ValueError(f'must be one of {", ".join(words)}, not "{value}"')

    return option(default, rule)


def word(default: Any) -> str:
    """
    Define an option whose value is a word: one or more printable ASCII characters without space.
    """
    made: str = option(default, check_word)
    return made


def check_word(value: str) -> None:
    """
    Raise :class:`ValueError` unless the text is one or more printable ASCII characters without
    space.
    """
    if not _PRINTABLE.fullmatch(value):
        raise ValueError("must be printable ASCII characters without space")


def secret() -> str:
    """
    Define an option whose value is secret: printable ASCII characters without space, or empty. No
    output of Logplex shows the value.
    """

    def rule(value: str) -> None:
        if value:
            check_word(value)

    return option("", rule, repr=False)


def check_user_id(value: str) -> None:
    """
    Raise :class:`ValueError` if the text cannot be a user id of HTTP basic authentication (RFC 7617
    §2).
    """
    check_word(value)
    if ":" in value:
        raise ValueError("must have no colon")


def check_permissions(values: tuple[str, ...]) -> None:
    """
    Raise :class:`ValueError` if a permission does not exist, or if two permissions exclude each
    other.
    """
    channels = set()
    for value in values:
        channel_id = value.removeprefix(ONE_CHANNEL_PREFIX)
        is_for_one = channel_id != value and channel_id != ANY_CHANNEL and is_id(channel_id)
        if value == ANY_CHANNEL_PERMISSION or is_for_one:
            channels.add(value)
        elif value != FULL_API:
            raise ValueError(f'must be "full_api", "any_channel" or "channel:ID", not "{value}"')
    if len(channels) > 1:
        raise ValueError("must be for one channel or for any channel")


def listeners(*default: str) -> tuple[str, ...]:
    """Define an option whose value is a list of server endpoint strings of Twisted."""

    def rule(values: tuple[str, ...]) -> None:
        for value in values:
            _check_listener(value)

    return option(default, rule)


def _check_listener(text: str) -> None:
    """Raise :class:`ValueError` if the text is not a server endpoint string of Twisted."""
    try:
        # An endpoint keeps the reactor for later; parsing does nothing with it.
        serverFromString(cast(Any, None), text)
    except (KeyError, IndexError):
        raise ValueError(f'"{text}" names a socket that systemd did not pass') from None
    except Exception as error:
        # Each kind of endpoint has its own parser with its own errors, OpenSSL's among them.
        why = str(error).replace("\n", " ")
        raise ValueError(
            f'"{text}" is not an endpoint string, such as "tcp:6001" ({why})'
        ) from None


def networks(*default: str) -> tuple[str, ...]:
    """Define an option whose value is a list of IP networks in CIDR form."""

    def rule(values: tuple[str, ...]) -> None:
        for value in values:
            try:
                ip_network(value)
            except ValueError:
                raise ValueError(f'"{value}" is not a network, such as "10.0.0.0/8"') from None

    return option(default, rule)


def base_url(default: str) -> str:
    """
    Define an option whose value is an ``http`` or ``https`` URL. Paths are appended to this URL, so
    it does not end in a slash.
    """

    def rule(value: str) -> None:
        try:
            parts = urlsplit(value)
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable or not _PRINTABLE.fullmatch(value) or parts.query or parts.fragment:
            raise ValueError('must be a URL like "https://logs.example.com:8001"')
        if parts.username is not None or parts.password is not None:
            raise ValueError("must be a URL without user and password")

    return option(default, rule, converter=lambda url: url.rstrip("/"))


def origins() -> tuple[str, ...]:
    """Define an option whose value is a list of origins of web pages. ``*`` means all origins."""

    def rule(values: tuple[str, ...]) -> None:
        for value in values:
            if value != "*" and not _ORIGIN.fullmatch(value):
                raise ValueError(f'"{value}" is not an origin, such as "https://logs.example.com"')

    return option((), rule)


def store_url(default: str) -> str:
    """
    Define an option whose value is the URL of a store. No output of Logplex shows the URL, because
    it may contain a password.
    """
    return option(default, check_store_url, repr=False)


def check_store_url(value: str) -> None:
    """Raise :class:`ValueError` if the text is not the URL of a store."""
    scheme, _, rest = value.partition(":")
    if scheme == "sqlite" and rest and "\0" not in rest:
        return
    if scheme == "memory" and not rest:
        return
    if is_redis_url(value):
        check_redis_url(value)
        return
    raise ValueError('must be "sqlite:FILE", "memory:" or "redis://HOST"')


_REDIS_SCHEMES = ("redis", "rediss")
_SENTINEL_SCHEMES = ("redis+sentinel", "rediss+sentinel")


def redis_urls() -> tuple[str, ...]:
    """
    Define an option whose value is a list of Redis URLs. No output of Logplex shows the URLs,
    because they may contain passwords.
    """

    def rule(values: tuple[str, ...]) -> None:
        for value in values:
            check_redis_url(value)

    return option((), rule, repr=False)


def is_redis_url(value: str) -> bool:
    """
    Return true if the URL of a store names a Redis server, or the Sentinels of a Redis server.
    """
    return value.partition(":")[0] in (*_REDIS_SCHEMES, *_SENTINEL_SCHEMES)


def check_redis_url(value: str) -> None:
    """Raise :class:`ValueError` if the text is not the URL of a Redis server (PROTOCOL §10)."""
    if value.partition(":")[0] in _SENTINEL_SCHEMES:
        usable, path = _has_hosts(value), r"/[^/]+(/\d*)?"
        example = "redis+sentinel://user:password@host:26379,host:26379/service/0#sortkey"
    else:
        usable, path = _has_host(value), r"(/\d*)?"
        example = "redis://user:password@host:6379/0#sortkey"
    if not usable or urlsplit(value).query or not re.fullmatch(path, urlsplit(value).path):
        raise ValueError(f'must be a URL like "{example}"')


def _has_host(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return bool(parts.scheme in _REDIS_SCHEMES and parts.hostname and parts.port != 0)
    except ValueError:
        return False


def _has_hosts(value: str) -> bool:
    try:
        return bool(split_hosts(urlsplit(value).netloc.rpartition("@")[2], default_port=1))
    except ValueError:
        return False
