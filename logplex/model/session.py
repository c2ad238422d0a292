# SPDX-License-Identifier: Apache-2.0

"""
The body of a session: the channel, the number of lines, live messages or not, and filters.

Another program may have written the JSON to Redis (PROTOCOL §7), so it is checked when a session
is made, and again when it is read.
"""

from __future__ import annotations

import json
import re
from typing import Any

from attrs import fields as fields_of
from attrs import frozen

#: The number of lines of a session without ``num``.
DEFAULT_LINES = 100

_SESSION_ID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", re.ASCII)


def unique_members(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """
    Make an object, for :func:`json.loads`, and refuse two members with one name: programs differ in
    which of the two they use.

    :raise ValueError: two members have one name.
    """
    found = dict(members)
    if len(found) < len(members):
        raise ValueError("a member stands twice")
    return found


class BadSession(ValueError):
    """The body is not that of a session; the text gives the client the reason."""


@frozen
class Session:
    """
    A right to read a channel's recent and live messages.

    :ivar num: at most this many recent lines, counted after the filters.
    :ivar tail: live messages follow.
    :ivar source: show only messages whose token has this name.
    :ivar ps: show only messages whose PROCID is this, or begins with this and a dot.
    """

    channel_id: str
    num: int = DEFAULT_LINES
    tail: bool = False
    source: bytes | None = None
    ps: bytes | None = None


#: The names of a session's fields.
SESSION_FIELDS = tuple(each.name for each in fields_of(Session))


def is_session_id(text: str) -> bool:
    """Return true if this can be a session's id: a UUID in its usual form."""
    return _SESSION_ID.fullmatch(text) is not None


def parse_session(body: bytes) -> Session:
    """
    Read a session's JSON. Fields that Logplex does not know are ignored.

    :raise BadSession: it is not an object in JSON, names a field twice, has no ``channel_id``, or
        another field has the wrong type.
    """
    try:
        fields = json.loads(body, object_pairs_hook=unique_members)
    except (ValueError, RecursionError):
        raise BadSession("bad JSON") from None
    if not isinstance(fields, dict):
        raise BadSession("invalid payload")
    channel_id = fields.get("channel_id")
    if not isinstance(channel_id, str):
        raise BadSession("'channel_id' missing")
    return Session(
        channel_id=channel_id,
        num=_lines(fields.get("num")),
        tail=_is_wanted(fields.get("tail")),
        source=_filter("source", fields.get("source")),
        ps=_filter("ps", fields.get("ps")),
    )


def channel_of_session(body: bytes) -> str | None:
    """Return the id of the channel that a session's JSON names; ``None`` if it is not a session."""
    try:
        return parse_session(body).channel_id
    except BadSession:
        return None


def _is_wanted(tail: object) -> bool:
    """
    Return false for null and false only: Erlang Logplex tails at every other value, also at 0.
    """
    return tail is not None and tail is not False


def _lines(num: object) -> int:
    if num is None:
        return DEFAULT_LINES
    if isinstance(num, str) and num.isascii() and num.isdigit():
        try:
            return int(num)
        except ValueError:
            pass  # thousands of digits
    elif isinstance(num, int) and not isinstance(num, bool) and num >= 0:
        return num
    raise BadSession("'num' must be a whole number")


def _filter(name: str, value: object) -> bytes | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise BadSession(f"'{name}' must be a string")
    # JSON can hold halves of surrogate pairs. No message matches them.
    return value.encode("utf-8", "surrogatepass")
