"""
What a reader wants to see: which messages, and in which form.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from attrs import define, field, frozen

from logplex.syslog.inner import tail_lines, tail_matches
from logplex.tails.window import Entry

_LINE_BREAK = re.compile(rb"\r\n|\r|\n")


@frozen
class View:
    """
    Readers with equal views get the same bytes.

    :ivar source: only messages whose token has this name; ``None``: all.
    :ivar ps: only messages whose PROCID is this, or begins with this and a dot; ``None``: all.
    :ivar events: Server-Sent Events instead of plain lines.
    """

    source: bytes | None
    ps: bytes | None
    events: bool

    def encode(self, numbers: Sequence[int | None], lines: Sequence[bytes]) -> list[bytes]:
        """Lines that end in LF, as the reader gets them."""
        return events(numbers, lines) if self.events else list(lines)

    def notice(self, line: bytes) -> bytes:
        """A line of Logplex itself, which has no number."""
        return event(None, line) if self.events else line

    def comment(self, text: bytes) -> bytes:
        """Something that only readers of events can be told."""
        return comment(text) if self.events else b""

    def position(self, number: int | None) -> bytes:
        """How far the stream has come, where nobody is told anything else."""
        return position(number) if self.events else b""

    def texts(self, entries: Sequence[Entry]) -> list[bytes]:
        """Entries as the reader gets them. What had to be formatted stays in the entry."""
        raw = [entry for entry in entries if entry.message is not None]
        if raw:
            messages = [entry.message for entry in raw if entry.message is not None]
            lines, _ = tail_lines(messages, None, None)
            encoded = self.encode(
                [entry.number for entry in raw], [line for line in lines if line is not None]
            )
            for entry, text in zip(raw, encoded, strict=True):
                entry.text = text
                entry.message = None
        return [entry.text for entry in entries]


@define(eq=False, repr=False)
class Block:
    """
    Live messages with consecutive numbers, formatted once for each pair of filters.

    :ivar numbers: as many as messages; each ``None`` where the messages have none.
    :ivar unparsable: how many messages no reader can be shown; known as soon as one asked.
    """

    numbers: Sequence[int | None]
    messages: Sequence[bytes]
    unparsable: int = 0
    _lines: dict[tuple[bytes | None, bytes | None], list[bytes | None]] = field(factory=dict)

    def shown(self, view: View) -> tuple[list[int | None], list[bytes]]:
        """The numbers and the encoded lines of what this view shows."""
        filters = view.source, view.ps
        lines = self._lines.get(filters)
        if lines is None:
            lines, self.unparsable = tail_lines(self.messages, *filters)
            self._lines[filters] = lines
        numbers = [n for n, line in zip(self.numbers, lines, strict=True) if line is not None]
        return numbers, view.encode(numbers, [line for line in lines if line is not None])

    def matching(self, view: View) -> list[Entry]:
        """What this view shows, to be formatted when somebody reads it."""
        matches, self.unparsable = tail_matches(self.messages, view.source, view.ps)
        return [
            Entry.of(number, message)
            for number, message, match in zip(self.numbers, self.messages, matches, strict=True)
            if match
        ]


def blocks(first: int | None, messages: Sequence[bytes], max_bytes: int) -> Iterator[Block]:
    """
    Cut messages into pieces of about so many bytes, each of one message at least.

    :param first: the number of the first message, or ``None`` for messages without numbers.
    """
    start = size = 0
    for end, message in enumerate(messages):
        size += len(message)
        if size > max_bytes and end > start:
            yield _block(first, messages, start, end)
            start, size = end, len(message)
    if start < len(messages):
        yield _block(first, messages, start, len(messages))


def _block(first: int | None, messages: Sequence[bytes], start: int, end: int) -> Block:
    part = messages[start:end]
    if first is None:
        return Block([None] * len(part), part)
    return Block(range(first + start, first + end), part)


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
