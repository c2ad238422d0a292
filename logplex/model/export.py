# SPDX-License-Identifier: Apache-2.0

"""
Convert the configuration to JSON and back, for backups and for moving from one store to another.

A document may hold a part of the configuration: ``{"channels": […], "tokens": […], "drains": […],
"credentials": […]}``, each member optional. The document contains secrets in the form in which the
store keeps them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from attrs import astuple

from logplex.model.values import (
    CHANNEL_FLAGS,
    KINDS,
    Channel,
    Credential,
    Drain,
    Kind,
    Token,
    Value,
    is_id,
)

#: Member of a document -> the kind of values in it, in the order in which values are restored.
MEMBERS: dict[str, Kind] = {f"{name}s": kind for name, kind in KINDS.items()}
_MEMBER_OF = {kind: member for member, kind in MEMBERS.items()}


class BadExport(ValueError):
    """
    The document is not a configuration. The text of the error gives the place and the reason,
    without secrets.
    """


def member_of(value: Value) -> str:
    """Return the name of the document's member that contains values of this kind."""
    return _MEMBER_OF[type(value)]


def exported(value: Value) -> dict[str, Any]:
    """Return a configuration value as a JSON object."""
    kind = type(value)
    attributes = astuple(value, recurse=False)
    plain = (sorted(each) if isinstance(each, frozenset) else each for each in attributes)
    fields = zip(_FIELDS[kind], plain, strict=True)
    return {name: each for name, each in fields if _ABSENT.get((kind, name), ...) != each}


def export_values(values: Iterable[Value]) -> dict[str, list[dict[str, Any]]]:
    """Return a JSON document with these configuration values."""
    document: dict[str, list[dict[str, Any]]] = {member: [] for member in MEMBERS}
    for value in values:
        document[member_of(value)].append(exported(value))
    return document


def import_values(document: object) -> list[Value]:
    """
    Return the configuration values in a JSON document.

    :raise BadExport: a member of the document is unknown, or a value is malformed.
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


def _imported(kind: Kind, entry: object, where: str) -> Value:
    if not isinstance(entry, dict):
        raise BadExport(f"{where} must be an object")
    fields = _FIELDS[kind]
    for name in entry:
        if name not in fields:
            raise BadExport(f"{where}: unknown member {str(name)[:40]!r}")
    for name, is_good in fields.items():
        if name not in entry and (kind, name) in _ABSENT:
            continue
        if name not in entry or not is_good(entry[name]):
            raise BadExport(f"{where}: {name!r} is missing or wrong")
    given = (entry.get(name, _ABSENT.get((kind, name))) for name in fields)
    value_of: Callable[..., Value] = kind
    return value_of(*(frozenset(each) if isinstance(each, list) else each for each in given))


def _is_id(value: object) -> bool:
    return isinstance(value, str) and is_id(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_filled(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**18


def _is_flags(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, str) and each in CHANNEL_FLAGS for each in value
    )


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _or_none(is_good: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or is_good(value)


#: Kind -> the name and the rule of each attribute, in the order of the attributes.
_FIELDS: dict[Kind, dict[str, Callable[[object], bool]]] = {
    Channel: {"id": _is_id, "name": _is_text, "flags": _is_flags},
    Token: {"id": _is_id, "channel": _is_id, "name": _is_filled, "created_us": _is_number},
    Drain: {
        "id": _is_number,
        "channel": _is_id,
        "token": _is_id,
        "url": _or_none(_is_text),
        "durable": _is_flag,
    },
    Credential: {
        "id": _is_id,
        "secret": _is_filled,
        "name": _is_text,
        "full_api": _is_flag,
        "channel": _or_none(_is_id),
    },
}

#: The value of an attribute that a document leaves out.
_ABSENT: dict[tuple[Kind, str], object] = {(Drain, "durable"): False}
