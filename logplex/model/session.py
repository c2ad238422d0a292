# SPDX-License-Identifier: Apache-2.0

"""
The body of a session: the channel, the number of lines, the filters, and a switch for live
messages.

The JSON is checked when a session is made, and again when the session is read, because another
program may have written the JSON to Redis (PROTOCOL §7).
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
    Make a dictionary of the members of a JSON object, for :func:`json.loads`. Refuse two members
    with the same name, because programs would choose different ones.

    :raise ValueError: two members have the same name.
    """
    found = dict(members)
    if len(found) < len(members):
        raise ValueError("a member stands twice")
    return found


class BadSession(ValueError):
    """The JSON is not a valid session. The text of the error gives the client the reason."""


@frozen
class Session:
    """
    The right to read a channel's recent and live messages.

    :ivar num: the maximum number of recent lines that pass the filters.
    :ivar tail: true if live messages follow the recent lines.
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
    """Return true if the text is a UUID in its usual form, as each session's id is."""
    return _SESSION_ID.fullmatch(text) is not None


def parse_session(body: bytes) -> Session:
    """
    Parse the JSON of a session. Ignore unknown fields.

    :raise BadSession: the body is not a JSON object, names a field twice, has no ``channel_id``, or
        has a field of the wrong type.
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
    """Return the channel's id in the JSON of a session; ``None`` if the JSON is not a session."""
    try:
        return parse_session(body).channel_id
    except BadSession:
        return None


def _is_wanted(tail: object) -> bool:
    """
    Return true if the value of ``tail`` asks for live messages: every value except null and false,
    as in Erlang Logplex.
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
