# SPDX-License-Identifier: Apache-2.0

"""
The messages that a reader wants to see, and the form in which it gets them: plain lines, or the
events of Server-Sent Events (the HTML standard, section 9.2).

Each line becomes one unnamed event. A line break within a line begins a new ``data:`` field, so
text cannot end an event or begin another field.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import cast

from attrs import define, field, frozen

from logplex.syslog.inner import tail_lines, tail_sources
from logplex.tails.window import Entry

#: The source and the process that a reader wants to see; see :class:`View`.
Filter = tuple[bytes | None, bytes | None]

#: The filter of a reader that wants to see everything.
SHOW_ALL: Filter = (None, None)

#: The most pairs of source and process whose filters are remembered, for each channel.
MAX_REMEMBERED_PAIRS = 1_000

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

    @property
    def filter(self) -> Filter:
        return self.source, self.ps

    def shows(self, source: bytes, process: bytes) -> bool:
        """Return whether the filters let a message of this source and process through."""
        return (self.source is None or source == self.source) and (
            self.ps is None or process == self.ps or process.startswith(self.ps + b".")
        )

    def encode(self, numbers: Sequence[int | None], lines: Sequence[bytes]) -> list[bytes]:
        """Return lines, each with LF at its end, in the format of the reader."""
        return events(numbers, lines) if self.events else list(lines)

    def show(self, messages: Sequence[tuple[int | None, bytes]]) -> bytes:
        """Return messages, each with its number or ``None``, in the format of the reader."""
        lines = tail_lines([message for _, message in messages])
        numbers = [number for number, _ in messages]
        return b"".join(self.encode(numbers, [line for line in lines if line is not None]))

    def notice(self, line: bytes) -> bytes:
        """Format a notice for the reader. A notice has no number."""
        return event(None, line) if self.events else line

    def comment(self, text: bytes) -> bytes:
        """Return a comment for readers of events; nothing for readers of plain lines."""
        return comment(text) if self.events else b""

    def position(self, number: int | None) -> bytes:
        """Return a keepalive with the number up to which the reader has seen all messages."""
        return position(number) if self.events else b""

    def texts(self, entries: Sequence[Entry]) -> list[bytes]:
        """
        Return entries in the format of the reader. Each entry keeps its text for other readers.
        """
        raw = [entry for entry in entries if entry.message is not None]
        if raw:
            messages = [entry.message for entry in raw if entry.message is not None]
            lines = tail_lines(messages)
            encoded = self.encode(
                [entry.number for entry in raw], [line for line in lines if line is not None]
            )
            for entry, text in zip(raw, encoded, strict=True):
                entry.text = text
                entry.message = None
        return [entry.text for entry in entries]


class Filters:
    """
    The filters of a channel's groups, found by the source and the process of a message. The time to
    find them does not depend on the number of filters.
    """

    __slots__ = ("_filters", "_found", "_lengths")

    def __init__(self) -> None:
        self._filters: set[Filter] = set()
        #: The lengths of the filters on the process.
        self._lengths: list[int] = []
        self._found: dict[tuple[bytes, bytes], list[Filter]] = {}

    def add(self, added: Filter) -> None:
        """Add a filter."""
        self._filters.add(added)
        self._changed()

    def remove(self, removed: Filter) -> None:
        """Remove a filter."""
        self._filters.discard(removed)
        self._changed()

    @property
    def show_all(self) -> bool:
        """True if the only filter is the one that shows everything."""
        return len(self._filters) == 1 and SHOW_ALL in self._filters

    def matching(self, pair: tuple[bytes, bytes]) -> list[Filter]:
        """
        Return the filters that let a message through.

        :param pair: the message's source and process.
        """
        found = self._found.get(pair)
        if found is None:
            if len(self._found) >= MAX_REMEMBERED_PAIRS:
                self._found.clear()
            found = self._found[pair] = self._find(*pair)
        return found

    def _find(self, source: bytes, process: bytes) -> list[Filter]:
        beginnings = [
            process[:length]
            for length in self._lengths
            if length <= len(process) and process[length : length + 1] in (b".", b"")
        ]
        return [
            (name, ps)
            for name in (None, source)
            for ps in (None, *beginnings)
            if (name, ps) in self._filters
        ]

    def _changed(self) -> None:
        self._lengths = sorted({len(ps) for _, ps in self._filters if ps is not None})
        self._found.clear()


@define(eq=False, repr=False)
class Block:
    """
    Live messages with consecutive numbers, each parsed once and formatted at most once.

    :ivar numbers: one for each message; all ``None`` if the messages have no numbers.
    :ivar unparsable: the number of messages that no reader can be shown; set by :meth:`select`.
    """

    numbers: Sequence[int | None]
    messages: Sequence[bytes]
    unparsable: int = 0
    _lines: list[bytes | None] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._lines = [None] * len(self.messages)

    def select(self, filters: Filters, format_all: bool) -> dict[Filter, Sequence[int]]:
        """
        Sort the messages by the filters that let them through.

        :param format_all: format the messages at once if the only filter shows all.
        :return: for each filter that shows something, the indexes of its messages.
        """
        if filters.show_all:
            return {SHOW_ALL: self._readable(format_all)}
        selected: dict[Filter, list[int]] = {}
        sources = tail_sources(self.messages)
        self.unparsable = sources.count(None)
        for index, pair in enumerate(sources):
            if pair is not None:
                for each in filters.matching(pair):
                    selected.setdefault(each, []).append(index)
        return {**selected}

    def _readable(self, format_all: bool) -> Sequence[int]:
        """Return the indexes of the messages that can be parsed."""
        found: Sequence[object]
        if format_all:
            found = self._lines = tail_lines(self.messages)
        else:
            found = tail_sources(self.messages)
        self.unparsable = found.count(None)
        if not self.unparsable:
            return range(len(found))
        return [index for index, each in enumerate(found) if each is not None]

    def shown(self, view: View, indexes: Sequence[int]) -> tuple[Sequence[int | None], list[bytes]]:
        """
        Format some messages for a view.

        :param indexes: the places of these messages.
        :return: the number of each message, and its line.
        """
        lines = self._lines
        if None in lines:
            missing = [index for index in indexes if lines[index] is None]
            formatted = tail_lines([self.messages[index] for index in missing])
            for index, line in zip(missing, formatted, strict=True):
                lines[index] = line
        numbers = self.numbers
        if len(indexes) < len(lines):
            lines = [lines[index] for index in indexes]
            numbers = [numbers[index] for index in indexes]
        return numbers, view.encode(numbers, cast(list[bytes], lines))

    def entries(self, indexes: Sequence[int]) -> list[Entry]:
        """Return entries of messages that are formatted when they are first read."""
        return [Entry.of(self.numbers[index], self.messages[index]) for index in indexes]


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
    Return one event for each line.

    :param numbers: the events' ids, one for each line; ``None``: an event without id.
    :param lines: the lines; each ends in LF, which is not part of the data.
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

    :param line: the line; it ends in LF.
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
