# SPDX-License-Identifier: Apache-2.0

"""
The keys and hashes of configuration values in Redis, as Erlang nodes use them.

This module has only pure functions. PROTOCOL §10 describes the format.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from sys import intern
from typing import Any, TypeVar

from attrs import frozen

from logplex.hosts import host_and_port
from logplex.model.values import (
    Change,
    Channel,
    Credential,
    Delete,
    Drain,
    Kind,
    Token,
    Value,
    join_flags,
    split_flags,
)

#: The kind and the id of a value: the contents of its key.
Name = tuple[Kind, str | int]

#: Globs that match each key of a value, and little else.
PATTERNS = ("ch:*:data", "tok:*:data", "drain:*:data", "cred:*")
#: The port of a drain that was made with a host alone.
_OLD_DRAIN_PORT = "514"

_DATA_KEY = re.compile(r"(ch|tok|drain):([^:]+):data")
_DATA_KINDS: dict[str, Kind] = {"ch": Channel, "tok": Token, "drain": Drain}
_DATA_PREFIXES = {kind: prefix for prefix, kind in _DATA_KINDS.items()}
_CREDENTIAL_PREFIX = "cred:"

_T = TypeVar("_T")


class Malformed(Exception):
    """
    A key of the configuration in Redis is malformed. The text gives the reason in a few words.
    """


def key_of(name: Name) -> str:
    """Return the Redis key of the value with this name."""
    kind, id = name
    if kind is Credential:
        return f"{_CREDENTIAL_PREFIX}{id}"
    return f"{_DATA_PREFIXES[kind]}:{id}:data"


def session_key(session_id: str) -> str:
    """Return the Redis key of a session."""
    return f"session:{session_id}"


def sessions_key(channel_id: str) -> str:
    """
    Return the Redis key of a channel's sorted set of sessions. The sessions are sorted by the time
    at which they end.
    """
    return f"logplex:sessions:{channel_id}"


def name_of(key: bytes) -> Name | None:
    """
    Return the name of the value that a Redis key holds; ``None`` if the key does not hold a value.

    :raise Malformed: the key has the prefix of a value, but is not a valid key.
    """
    try:
        text = key.decode()
    except UnicodeDecodeError:
        raise Malformed("the key is not UTF-8") from None
    if text.startswith(_CREDENTIAL_PREFIX):
        return Credential, text.removeprefix(_CREDENTIAL_PREFIX)
    match = _DATA_KEY.fullmatch(text)
    if match is None:
        return None
    kind = _DATA_KINDS[match[1]]
    if kind is not Drain:
        return kind, match[2]
    if not re.fullmatch(r"[1-9][0-9]{0,18}", match[2], re.ASCII):
        raise Malformed("the drain's id is not a number")
    return kind, int(match[2])


def commands_of(change: Change) -> list[Sequence[str]]:
    """
    Return the Redis commands that make a change. One ``HMSET`` writes all fields, since Erlang
    nodes notice only this command.
    """
    if isinstance(change, Delete):
        return [("DEL", key_of((change.kind, change.id)))]
    value = change.value
    key = key_of((type(value), value.id))
    fields = _FORMS[type(value)].fields_of(value)
    absent = [field for field, text in fields.items() if text is None]
    commands: list[Sequence[str]] = [("HDEL", key, *absent)] if absent else []
    pairs = [each for field, text in fields.items() if text is not None for each in (field, text)]
    commands.append(("HMSET", key, *pairs))
    return commands


def value_of(name: Name, fields: Mapping[bytes, bytes]) -> Value:
    """
    Return the value that the fields of a hash describe. Unknown fields are ignored.

    :raise Malformed: a field is missing.
    """
    kind, id = name
    # Text that is not UTF-8 is no reason to drop the messages of a channel.
    text = {
        field.decode(errors="replace"): value.decode(errors="replace")
        for field, value in fields.items()
    }
    return _FORMS[kind].value_of(id, text)


def _needed(text: Mapping[str, str], field: str) -> str:
    value = text.get(field)
    if not value:
        raise Malformed(f'the field "{field}" is missing')
    return value


def _shared(text: Mapping[str, str], field: str) -> str:
    """
    Return the text of a field as one object for all values that have the same text, to save memory.
    """
    return intern(_needed(text, field))


def _url_of(text: Mapping[str, str]) -> str | None:
    """
    Return the URL of a drain from its text, which may have an older form; ``None`` for a reserved
    drain.
    """
    if text.get("url"):
        return text["url"]
    host = text.get("host")
    if not host:
        return None
    return f"syslog://{host_and_port(host, text.get('port') or _OLD_DRAIN_PORT)}"


def pairs(answer: Sequence[_T]) -> dict[_T, _T]:
    """Return the answer of Redis to ``HGETALL`` as a mapping."""
    return dict(zip(answer[::2], answer[1::2], strict=True))


_Texts = Mapping[str, str]


def _channel_fields(channel: Channel) -> dict[str, str | None]:
    return {"name": channel.name, "flags": join_flags(channel.flags)}


def _channel_of(id: str | int, text: _Texts) -> Channel:
    return Channel(intern(str(id)), text.get("name", ""), split_flags(text.get("flags", "")))


def _token_fields(token: Token) -> dict[str, str | None]:
    return {"ch": token.channel_id, "name": token.name, "created_us": str(token.created_us)}


def _token_of(id: str | int, text: _Texts) -> Token:
    created = text.get("created_us", "")
    created_us = int(created) if re.fullmatch(r"[0-9]{1,18}", created, re.ASCII) else 0
    return Token(str(id), _shared(text, "ch"), _shared(text, "name"), created_us)


def _drain_fields(drain: Drain) -> dict[str, str | None]:
    fields: dict[str, str | None] = {"ch": drain.channel_id, "token": drain.token}
    if drain.url is not None:
        fields |= {"url": drain.url, "state": "provisioned"}
    return {**fields, "durable": "1" if drain.durable else None}


def _drain_of(id: str | int, text: _Texts) -> Drain:
    channel_id, token = _shared(text, "ch"), _needed(text, "token")
    return Drain(int(id), channel_id, token, _url_of(text), text.get("durable") == "1")


def _credential_fields(credential: Credential) -> dict[str, str | None]:
    return {
        "pass": credential.secret,
        "name": credential.name,
        "full_api": "1" if credential.full_api else None,
        "channel": credential.channel,
    }


def _credential_of(id: str | int, text: _Texts) -> Credential:
    secret, name = _needed(text, "pass"), text.get("name", "")
    full_api, channel = text.get("full_api") == "1", text.get("channel") or None
    return Credential(str(id), secret, name, full_api, channel)


@frozen
class _Form:
    """
    The form of the hash that holds one kind of value.

    :ivar fields_of: returns the fields of a value; ``None`` stands for a field that the hash must
        not have.
    :ivar value_of: returns the value with an id and these fields.
    """

    fields_of: Callable[[Any], dict[str, str | None]]
    value_of: Callable[[str | int, _Texts], Value]


_FORMS: dict[Kind, _Form] = {
    Channel: _Form(_channel_fields, _channel_of),
    Token: _Form(_token_fields, _token_of),
    Drain: _Form(_drain_fields, _drain_of),
    Credential: _Form(_credential_fields, _credential_of),
}
