# SPDX-License-Identifier: Apache-2.0

"""
The messages that a reader wants to see, and their format: plain lines, or Server-Sent Events (the
HTML standard, section 9.2).

In the format of events, each line becomes one event. A line break within a line begins a new
``data:`` field, so text from a sender cannot end an event or add another field.
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
    The filters and the format of a reader. Readers with equal views get the same bytes.

    :ivar source: show only messages whose token has this name; ``None`` to show all messages.
    :ivar ps: show only messages whose PROCID is this, or begins with this and a dot; ``None`` to
        show all messages.
    :ivar events: give events instead of plain lines.
    """

    source: bytes | None
    ps: bytes | None
    events: bool

    @property
    def filter(self) -> Filter:
        return self.source, self.ps

    def shows(self, source: bytes, process: bytes) -> bool:
        """Return true if the filters let a message with this source and process through."""
        return (self.source is None or source == self.source) and (
            self.ps is None or process == self.ps or process.startswith(self.ps + b".")
        )

    def encode(self, numbers: Sequence[int | None], lines: Sequence[bytes]) -> list[bytes]:
        """
        Return lines in the reader's format. Each given line ends in LF.

        :param numbers: the message number of each line.
        """
        return events(numbers, lines) if self.events else list(lines)

    def show(self, messages: Sequence[tuple[int | None, bytes]]) -> bytes:
        """Return messages in the reader's format. A message may have the number ``None``."""
        lines = tail_lines([message for _, message in messages])
        numbers = [number for number, _ in messages]
        return b"".join(self.encode(numbers, [line for line in lines if line is not None]))

    def notice(self, line: bytes) -> bytes:
        """Return a notice in the reader's format. A notice has no number."""
        return event(None, line) if self.events else line

    def comment(self, text: bytes) -> bytes:
        """Return a comment in the format of events; return nothing if the format is plain lines."""
        return comment(text) if self.events else b""

    def position(self, number: int | None) -> bytes:
        """
        Return a keepalive that contains the number of the last message that the reader has seen.
        """
        return position(number) if self.events else b""

    def texts(self, entries: Sequence[Entry]) -> list[bytes]:
        """
        Return entries in the reader's format. Each entry keeps its formatted text for other
        readers.
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
    The different filters of a channel's tails, indexed by source and process. The time to find the
    filters of a message does not depend on the number of filters.
    """

    __slots__ = ("_filters", "_found", "_lengths")

    def __init__(self) -> None:
        self._filters: set[Filter] = set()
        #: The lengths of the filters on the process.
        self._lengths: list[int] = []
        self._found: dict[tuple[bytes, bytes], list[Filter]] = {}

    def add(self, added: Filter) -> None:
        """Add a filter to the index."""
        self._filters.add(added)
        self._changed()

    def remove(self, removed: Filter) -> None:
        """Remove a filter from the index."""
        self._filters.discard(removed)
        self._changed()

    @property
    def show_all(self) -> bool:
        """True if there is only one filter, and it lets every message through."""
        return len(self._filters) == 1 and SHOW_ALL in self._filters

    def matching(self, pair: tuple[bytes, bytes]) -> list[Filter]:
        """
        Return the filters that let a message through.

        :param pair: the source and the process of the message.
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
    Live messages with consecutive numbers. Each message is parsed once and formatted at most once.

    :ivar numbers: the number of each message; ``None`` for every message if the messages have no
        numbers.
    :ivar unparsable: the number of malformed messages, which cannot be shown; set by
        :meth:`select`.
    """

    numbers: Sequence[int | None]
    messages: Sequence[bytes]
    unparsable: int = 0
    _lines: list[bytes | None] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._lines = [None] * len(self.messages)

    def select(self, filters: Filters, format_all: bool) -> dict[Filter, Sequence[int]]:
        """
        Find the messages that each filter lets through.

        :param format_all: true to format all messages at once if the only filter lets every message
            through.
        :return: the indexes of the messages, for each filter that lets a message through.
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
        """Return the indexes of the messages that are not malformed."""
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
        Return the number and the line of some messages for a view.

        :param indexes: the indexes of the messages in the block.
        :return: the numbers of the messages, and their lines.
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
        """Return window entries for some messages. An entry is formatted when it is first read."""
        return [Entry.of(self.numbers[index], self.messages[index]) for index in indexes]


def blocks(first: int | None, messages: Sequence[bytes], max_bytes: int) -> Iterator[Block]:
    """
    Divide messages into blocks.

    :param first: the number of the first message, or ``None`` for messages without numbers.
    :param max_bytes: the maximum size of a block in bytes. A single larger message is a block of
        its own.
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
    Return one Server-Sent Event for each line.

    :param numbers: the id of each event; ``None`` for an event without an id.
    :param lines: the lines. Each line ends in LF; the LF is not part of the event's data.
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
    Return one Server-Sent Event.

    :param number: the id of the event; ``None`` for an event without an id.
    :param line: the line, which ends in LF.
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
    """
    Return a line with the character U+FFFD in place of bytes that are not UTF-8, as the HTML
    standard demands.
    """
    return line if line.isascii() else line.decode(errors="replace").encode()


def comment(text: bytes) -> bytes:
    """
    Return a comment line of Server-Sent Events. Clients ignore comments.

    :param text: the text of the comment, without line breaks; may be empty.
    """
    return b": %b\n\n" % text if text else b":\n\n"


def position(number: int | None) -> bytes:
    """
    Return a comment that also sets the client's last event id. A client that reconnects continues
    after this id.

    :param number: the id; ``None`` to return only a comment.
    """
    return comment(b"") if number is None else b"id: %d\n:\n\n" % number


def event_id(text: bytes | None) -> int | None:
    """
    Return the message number in the value of a ``Last-Event-ID`` header; ``None`` if the value is
    missing or not a number.
    """
    # Numbers are kept in 64 bits.
    if text is None or not text.isdigit() or len(text) > 18:
        return None
    return int(text)
