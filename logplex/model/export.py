"""
The configuration as JSON, and back: for backups, and for moving from one store to another.

A document may hold a part of the configuration: ``{"channels": […], "tokens": […], "drains": […],
"credentials": […]}``, each member optional. Secrets are in it as they are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from logplex.model.values import CHANNEL_FLAGS, Channel, Credential, Drain, Token, Value, is_id

#: Member of a document -> the kind of values in it, in the order in which they are best restored.
MEMBERS: dict[str, type[Any]] = {
    "channels": Channel,
    "tokens": Token,
    "drains": Drain,
    "credentials": Credential,
}
_MEMBER_OF = {kind: member for member, kind in MEMBERS.items()}


class BadExport(ValueError):
    """This is no configuration; the text says where and why, without any secret."""


def member_of(value: Value) -> str:
    """The member of a document that the value belongs into."""
    return _MEMBER_OF[type(value)]


def exported(value: Value) -> dict[str, Any]:
    """The value as JSON."""
    if isinstance(value, Channel):
        return {"id": value.id, "name": value.name, "flags": sorted(value.flags)}
    if isinstance(value, Token):
        created_us = value.created_us
        token = {"id": value.id, "channel": value.channel_id, "name": value.name}
        return {**token, "created_us": created_us}
    if isinstance(value, Drain):
        drain = {"id": value.id, "channel": value.channel_id, "token": value.token}
        return {**drain, "url": value.url}
    return {
        "id": value.id,
        "secret": value.secret,
        "name": value.name,
        "full_api": value.full_api,
        "channel": value.channel,
    }


def export_values(values: Iterable[Value]) -> dict[str, list[dict[str, Any]]]:
    """A document that holds all of the values."""
    document: dict[str, list[dict[str, Any]]] = {member: [] for member in MEMBERS}
    for value in values:
        document[member_of(value)].append(exported(value))
    return document


def import_values(document: object) -> list[Value]:
    """
    The values that a document holds.

    :raise BadExport: a member is unknown, or a value in it is not what :func:`exported` gives.
    """
    if not isinstance(document, dict):
        raise BadExport("it must be an object")
    values: list[Value] = []
    for member in document:
        if member not in MEMBERS:
            raise BadExport(f"unknown member {member[:40]!r}")
    for member, kind in MEMBERS.items():
        entries = document.get(member, [])
        if not isinstance(entries, list):
            raise BadExport(f"{member!r} must be an array")
        for place, entry in enumerate(entries):
            values.append(_imported(kind, entry, f"{member}[{place}]"))
    return values


def _imported(kind: type[Any], entry: object, where: str) -> Value:
    if not isinstance(entry, dict):
        raise BadExport(f"{where} must be an object")
    fields, value_of = _KINDS[kind]
    for name in entry:
        if name not in fields:
            raise BadExport(f"{where}: unknown member {str(name)[:40]!r}")
    for name, is_good in fields.items():
        if name not in entry or not is_good(entry[name]):
            raise BadExport(f"{where}: {name!r} is missing or wrong")
    return value_of(entry)


def _is_id(value: object) -> bool:
    return isinstance(value, str) and is_id(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_secret(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**18


def _is_flags(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, str) and each in CHANNEL_FLAGS for each in value
    )


def _or_none(is_good: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or is_good(value)


_Fields = dict[str, Callable[[object], bool]]

_KINDS: dict[type[Any], tuple[_Fields, Callable[[dict[str, Any]], Value]]] = {
    Channel: (
        {"id": _is_id, "name": _is_text, "flags": _is_flags},
        lambda entry: Channel(entry["id"], entry["name"], frozenset(entry["flags"])),
    ),
    Token: (
        {"id": _is_id, "channel": _is_id, "name": _is_secret, "created_us": _is_number},
        lambda entry: Token(entry["id"], entry["channel"], entry["name"], entry["created_us"]),
    ),
    Drain: (
        {"id": _is_number, "channel": _is_id, "token": _is_id, "url": _or_none(_is_text)},
        lambda entry: Drain(entry["id"], entry["channel"], entry["token"], entry["url"]),
    ),
    Credential: (
        {
            "id": _is_id,
            "secret": _is_secret,
            "name": _is_text,
            "full_api": lambda value: isinstance(value, bool),
            "channel": _or_none(_is_id),
        },
        lambda entry: Credential(
            entry["id"], entry["secret"], entry["name"], entry["full_api"], entry["channel"]
        ),
    ),
}
