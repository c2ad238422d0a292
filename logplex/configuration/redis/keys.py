# SPDX-License-Identifier: Apache-2.0

"""
The keys and hashes of values in the configuration Redis, as Erlang nodes know them.

Pure functions; PROTOCOL §10 is the source.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from sys import intern
from typing import TypeVar

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
    """A key of the configuration is malformed; the text gives the reason in a few words."""


def key_of(name: Name) -> str:
    """Return the key of a value."""
    kind, id = name
    if kind is Credential:
        return f"{_CREDENTIAL_PREFIX}{id}"
    return f"{_DATA_PREFIXES[kind]}:{id}:data"


def session_key(session_id: str) -> str:
    """Return the key of a session."""
    return f"session:{session_id}"


def sessions_key(channel_id: str) -> str:
    """Return the key of the sorted set of a channel's sessions, by the time at which they end."""
    return f"logplex:sessions:{channel_id}"


def name_of(key: bytes) -> Name | None:
    """
    Return the name in a key; ``None`` if it is not the key of a value.

    :raise Malformed: the key has the prefix of a value, but cannot be one.
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
    Return the commands that make a change: all fields in one ``HMSET``, since Erlang nodes look
    at nothing else.
    """
    if isinstance(change, Delete):
        return [("DEL", key_of((change.kind, change.id)))]
    value = change.value
    key = key_of((type(value), value.id))
    fields, absent = _fields_of(value)
    commands: list[Sequence[str]] = [("HDEL", key, *absent)] if absent else []
    pairs = [text for pair in fields.items() for text in pair]
    commands.append(("HMSET", key, *pairs))
    return commands


def _fields_of(value: Value) -> tuple[dict[str, str], list[str]]:
    """Return the fields of a value, and the names of fields that it must not have."""
    if isinstance(value, Channel):
        return {"name": value.name, "flags": join_flags(value.flags)}, []
    if isinstance(value, Token):
        created = str(value.created_us)
        return {"ch": value.channel_id, "name": value.name, "created_us": created}, []
    if isinstance(value, Drain):
        fields = {"ch": value.channel_id, "token": value.token}
        if value.url is not None:
            fields |= {"url": value.url, "state": "provisioned"}
        if value.durable:
            return {**fields, "durable": "1"}, []
        return fields, ["durable"]
    permissions = {
        "full_api": "1" if value.full_api else None,
        "channel": value.channel,
    }
    fields = {"pass": value.secret, "name": value.name}
    fields |= {field: text for field, text in permissions.items() if text is not None}
    return fields, [field for field, text in permissions.items() if text is None]


def value_of(name: Name, fields: Mapping[bytes, bytes]) -> Value:
    """
    Return the value in a hash. Unknown fields are ignored.

    :raise Malformed: a field is missing.
    """
    kind, id = name
    # Text that is not UTF-8 is no reason to drop the messages of a channel.
    text = {
        field.decode(errors="replace"): value.decode(errors="replace")
        for field, value in fields.items()
    }
    if kind is Channel:
        flags = split_flags(text.get("flags", ""))
        return Channel(intern(str(id)), text.get("name", ""), flags)
    if kind is Token:
        created = text.get("created_us", "")
        created_us = int(created) if re.fullmatch(r"[0-9]{1,18}", created, re.ASCII) else 0
        return Token(str(id), _shared(text, "ch"), _shared(text, "name"), created_us)
    if kind is Drain:
        return Drain(
            int(id),
            _shared(text, "ch"),
            _needed(text, "token"),
            _url_of(text),
            text.get("durable") == "1",
        )
    return Credential(
        str(id),
        _needed(text, "pass"),
        text.get("name", ""),
        text.get("full_api") == "1",
        text.get("channel") or None,
    )


def _needed(text: Mapping[str, str], field: str) -> str:
    value = text.get(field)
    if not value:
        raise Malformed(f'the field "{field}" is missing')
    return value


def _shared(text: Mapping[str, str], field: str) -> str:
    """Return the text, as one object for all values that have it, to save memory."""
    return intern(_needed(text, field))


def _url_of(text: Mapping[str, str]) -> str | None:
    """Return the URL of a drain, also in the older form; ``None`` for a reserved drain."""
    if text.get("url"):
        return text["url"]
    host = text.get("host")
    if not host:
        return None
    return f"syslog://{host_and_port(host, text.get('port') or _OLD_DRAIN_PORT)}"


def pairs(answer: Sequence[_T]) -> dict[_T, _T]:
    """Return the answer to ``HGETALL`` as a mapping."""
    return dict(zip(answer[::2], answer[1::2], strict=True))
