"""
The messages that a reader wants to see, and the form in which it gets them: plain lines, or the
events of Server-Sent Events (the HTML standard, section 9.2).

Each line becomes one unnamed event. No text of a line can end its field or its event: every line
break in it begins a new ``data:`` field.
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
    A reader's filters and its format. Readers with equal views get the same bytes.

    :ivar source: show only messages whose token has this name; ``None``: all.
    :ivar ps: show only messages whose PROCID is this, or begins with this and a dot; ``None``: all.
    :ivar events: give events instead of plain lines.
    """

    source: bytes | None
    ps: bytes | None
    events: bool

    def encode(self, numbers: Sequence[int | None], lines: Sequence[bytes]) -> list[bytes]:
        """Return lines, each of which ends in LF, as the reader gets them."""
        return events(numbers, lines) if self.events else list(lines)

    def notice(self, line: bytes) -> bytes:
        """Return a notice, which has no number, as the reader gets it."""
        return event(None, line) if self.events else line

    def comment(self, text: bytes) -> bytes:
        """Return a remark that only readers of events can be given; else nothing."""
        return comment(text) if self.events else b""

    def position(self, number: int | None) -> bytes:
        """Return a sign of life that also says up to which number the reader has seen all."""
        return position(number) if self.events else b""

    def texts(self, entries: Sequence[Entry]) -> list[bytes]:
        """Return entries as the reader gets them. Each entry keeps its text for other readers."""
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

    :ivar numbers: one for each message; all ``None`` if the messages have no numbers.
    :ivar unparsable: the count of messages that no reader can be shown. It is known once they have
        been formatted or matched.
    """

    numbers: Sequence[int | None]
    messages: Sequence[bytes]
    unparsable: int = 0
    _lines: dict[tuple[bytes | None, bytes | None], list[bytes | None]] = field(factory=dict)

    def shown(self, view: View) -> tuple[list[int | None], list[bytes]]:
        """Return the numbers and the encoded lines of the messages that the view shows."""
        filters = view.source, view.ps
        lines = self._lines.get(filters)
        if lines is None:
            lines, self.unparsable = tail_lines(self.messages, *filters)
            self._lines[filters] = lines
        numbers = [n for n, line in zip(self.numbers, lines, strict=True) if line is not None]
        return numbers, view.encode(numbers, [line for line in lines if line is not None])

    def matching(self, view: View) -> list[Entry]:
        """Return the messages that the view shows, to be formatted when they are first read."""
        matches, self.unparsable = tail_matches(self.messages, view.source, view.ps)
        return [
            Entry.of(number, message)
            for number, message, match in zip(self.numbers, self.messages, matches, strict=True)
            if match
        ]


def blocks(first: int | None, messages: Sequence[bytes], max_bytes: int) -> Iterator[Block]:
    """
    Cut messages into blocks.

    :param first: the number of the first message, or ``None`` for messages without numbers.
    :param max_bytes: the most bytes of messages in a block of more than one message.
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
    Return an event for each line.

    :param numbers: the events' ids, one for each line; ``None``: an event without id.
    :param lines: each ends in LF, which is not part of the event's data.
    """
    together = b"".join(lines)
    if not _is_utf8(together):
        lines = [_as_utf8(line) for line in lines]
    if b"\r" in together or together.count(b"\n") != len(lines):
        return [event(number, line) for number, line in zip(numbers, lines, strict=True)]
    return [
        b"data: %b\n" % line if number is None else b"id: %d\ndata: %b\n" % (number, line)
        for number, line in zip(numbers, lines, strict=True)
    ]


def event(number: int | None, line: bytes) -> bytes:
    """
    Return one event.

    :param line: ends in LF.
    """
    data = _LINE_BREAK.sub(b"\ndata: ", _as_utf8(line)[:-1])
    if number is None:
        return b"data: %b\n\n" % data
    return b"id: %d\ndata: %b\n\n" % (number, data)


def _is_utf8(text: bytes) -> bool:
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _as_utf8(line: bytes) -> bytes:
    """Return a line with U+FFFD in place of bytes that are not UTF-8, as the standard demands."""
    return line if line.isascii() else line.decode(errors="replace").encode()


def comment(text: bytes) -> bytes:
    """
    Return a comment, which clients ignore.

    :param text: without line breaks; may be empty.
    """
    return b": %b\n\n" % text if text else b":\n\n"


def position(number: int | None) -> bytes:
    """
    Return a comment that also sets the client's last event id: the client resumes after it.

    :param number: the id; ``None``: a comment alone.
    """
    return comment(b"") if number is None else b"id: %d\n:\n\n" % number


def event_id(text: bytes | None) -> int | None:
    """Return the number in a ``Last-Event-ID``; ``None`` if it is missing or not an id of ours."""
    # Numbers are kept in 64 bits.
    if text is None or not text.isdigit() or len(text) > 18:
        return None
    return int(text)
