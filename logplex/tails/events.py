"""
Server-Sent Events (the HTML standard, section 9.2), as readers of tails get them.

Each line becomes one unnamed event. What stands in a line can end neither its field nor its event:
every line break in it begins a new ``data:`` field.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_LINE_BREAK = re.compile(rb"\r\n|\r|\n")


def events(numbers: Sequence[int | None], lines: Sequence[bytes]) -> list[bytes]:
    """
    One event for each line.

    :param numbers: the events' ids, as many as lines; ``None``: an event without id.
    :param lines: each ends in LF, which is not part of the data.
    """
    together = b"".join(lines)
    if b"\r" in together or together.count(b"\n") != len(lines):
        return [event(number, line) for number, line in zip(numbers, lines, strict=True)]
    return [
        b"data: %b\n" % line if number is None else b"id: %d\ndata: %b\n" % (number, line)
        for number, line in zip(numbers, lines, strict=True)
    ]


def event(number: int | None, line: bytes) -> bytes:
    """
    One event.

    :param line: ends in LF.
    """
    data = _LINE_BREAK.sub(b"\ndata: ", line[:-1])
    if number is None:
        return b"data: %b\n\n" % data
    return b"id: %d\ndata: %b\n\n" % (number, data)


def comment(text: bytes) -> bytes:
    """
    What readers ignore.

    :param text: without line breaks; empty is well.
    """
    return b": %b\n\n" % text if text else b":\n\n"


def position(number: int | None) -> bytes:
    """
    What readers ignore, and what their clients take for the last event's id: there is nothing new
    up to this number. ``None``: only what readers ignore.
    """
    return comment(b"") if number is None else b"id: %d\n:\n\n" % number


def event_id(text: bytes | None) -> int | None:
    """What a ``Last-Event-ID`` says; ``None`` where it is missing or no id of ours."""
    # Numbers are kept in 64 bits.
    if text is None or not text.isdigit() or len(text) > 18:
        return None
    return int(text)
