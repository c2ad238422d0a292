# SPDX-License-Identifier: Apache-2.0

"""
A group: the tails of one channel that have equal filters and the same format, so they show the same
bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import define, field
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger

from logplex.live import Live
from logplex.metrics import Counters
from logplex.settings import Limits
from logplex.syslog.notices import l11_line
from logplex.tails.view import Block, View
from logplex.tails.window import Entry, Place, Window

_log = Logger()

#: The most bytes that a reader is given at once. A transport asks for a pause at 64 KiB, and the
#: kernel takes up to 128 KiB of one at a time.
BLOCK_BYTES = 65_536

#: The factor by which a window may exceed its bounds while tails read from it.
PATIENCE = 16


class OpenAnswer(Protocol):
    """The open answer to a reader: an HTTP answer, or a list of bytes in a test."""

    @property
    def is_closed(self) -> bool:
        """True if the client's connection is closed."""

    def history_is_away(self) -> None:
        """
        Add a header that says that the recent messages cannot be read now. Call this before
        ``start``.
        """

    def start(self, producer: IPushProducer) -> None:
        """
        Write the head of the answer. From now on, tell the producer when the transport is full and
        when the transport has room again.
        """

    def write(self, text: bytes) -> None:
        """Write a part of the answer's body."""

    def finish(self) -> None:
        """End the answer."""

    def abort(self) -> None:
        """Cut the connection to the client at once."""


class Reader(Protocol):
    """The interface of a tail that its group uses."""

    answer: OpenAnswer
    place: Place

    def write(self, text: bytes) -> None:
        """
        Write bytes to the client. If the transport is full after the write, the tail leaves the
        live tails of its group.
        """

    def pump(self) -> None:
        """Write the next entries of the group to the client, as long as the transport has room."""

    def end(self, notice: bytes) -> None:
        """End the answer. If a notice is given, write the notice first."""

    def drop(self) -> None:
        """Cut the connection to the client at once."""

    def lost(self) -> None:
        """End the tail, because the client has closed the connection."""


@define(eq=False, repr=False)
class Group:
    """
    Write each block of messages at once to the tails that have read everything before it. Keep the
    messages in a window for the other tails: their past is not written yet, their transport is
    full, or they have seen the messages on another node.

    :param now: returns the present time, in seconds since the epoch.
    :param last: returns the highest message number that the channel's groups have received.
    :param emptied: the function to call when the last tail has left the group.
    """

    view: View
    counters: Counters
    now: Callable[[], float]
    limits: Live[Limits]
    last: Callable[[], int]
    emptied: Callable[[Group], None]
    window: Window = field(factory=Window)
    _live: dict[Reader, None] = field(factory=dict)
    _behind: dict[Reader, None] = field(factory=dict)
    #: True if a tail has read from the window since it was last trimmed.
    _is_read: bool = False

    def __len__(self) -> int:
        return len(self._live) + len(self._behind)

    @property
    def has_live(self) -> bool:
        return bool(self._live)

    # Called by the channel.

    def publish(self, block: Block, indexes: Sequence[int]) -> None:
        """
        Show live messages to every tail of the group: now, or later if the transport is full.

        :param indexes: the indexes of the messages that the filters let through.
        """
        if self._live:
            numbers, texts = block.shown(self.view, indexes)
            if self._behind:
                self.window.append(list(map(Entry.formatted, numbers, texts)))
            else:
                self.window.skip(len(texts))
            self._write(b"".join(texts), len(texts))
        else:
            self.window.append(block.entries(indexes))

    def tell(self, line: bytes) -> None:
        """
        Show a notice to all tails of the group, after the messages that came before the notice.
        """
        text = self.view.notice(line)
        if self._behind:
            self.window.append([Entry.notice(text)])
        self._write(text, 0)
        self.pump()

    def pump(self) -> None:
        """Write waiting entries to the tails that have not read everything yet."""
        for reader in list(self._behind):
            try:
                reader.pump()
            except Exception:
                self._bug(reader)

    def begin_again(self) -> None:
        """
        Mark all future messages as new to every tail, because the spool has begun to number
        messages again from a lower number.
        """
        for reader in self.readers():
            reader.place.seen = 0

    def trim(self) -> bool:
        """
        Remove the oldest entries if the window exceeds its bounds. Count the removed entries that
        each tail has not read.

        If a tail has read from the window since the last call, the delay comes from the busy node
        and not from a slow client. In this case the bounds are ``PATIENCE`` times as large.

        :return: true if the caller must trim the window again soon.
        """
        if not self._behind:
            return False
        is_read, self._is_read = self._is_read, False
        factor = PATIENCE if is_read else 1
        pushed_out = self.window.trim(
            self.limits.now.tail_buffer_messages * factor,
            self.limits.now.tail_buffer_bytes * factor,
        )
        if pushed_out:
            now = self.now()
            for reader in self._behind:
                lost = reader.place.push(self.window.start, pushed_out, now)
                self.counters.tail_dropped += lost
        return is_read

    def readers(self) -> list[Reader]:
        """Return all tails of the group."""
        return [*self._live, *self._behind]

    # Called by the tails.

    def enter(self, reader: Reader) -> None:
        """Add a tail to the group. The tail is shown every message that arrives from now on."""
        reader.place = Place(self.window.end)
        self._behind[reader] = None

    def leave(self, reader: Reader) -> None:
        """Remove a tail from the group. Do nothing if the tail has been removed already."""
        self._live.pop(reader, None)
        self._behind.pop(reader, None)
        self._clear_if_unused()
        if not len(self):
            self.emptied(self)

    def fall_behind(self, reader: Reader) -> None:
        """
        Let a tail read from the window from now on, because the transport of the tail is full.
        """
        if reader in self._live:
            del self._live[reader]
            reader.place.position = self.window.end
            self._behind[reader] = None

    def is_live(self, reader: Reader) -> bool:
        """Return true if the tail has been shown every message so far."""
        return reader in self._live

    def take(self, reader: Reader) -> bytes:
        """
        Return the next bytes for a tail that reads from the window. The result is empty if the tail
        has read the whole window; then the tail becomes live, unless it has already seen the next
        messages on another node.
        """
        if reader not in self._behind:
            return b""
        place = reader.place
        texts: list[bytes] = []
        if place.lost:
            line = l11_line(self.now(), place.lost, place.lost_since)
            texts.append(self.view.notice(line))
            place.lost = 0
        while not texts and place.position < self.window.end:
            self._is_read = True
            entries = self.window.read(place.position, BLOCK_BYTES)
            place.position += len(entries)
            shown = [entry for entry in entries if place.shows(entry)]
            texts = self.view.texts(shown)
            self.counters.tail_delivered += sum(entry.is_message for entry in shown)
        if not texts and place.seen <= self.last():
            del self._behind[reader]
            self._live[reader] = None
            self._clear_if_unused()
        return b"".join(texts)

    # Internals.

    def _write(self, text: bytes, messages: int) -> None:
        if not text:
            return
        self.counters.tail_delivered += messages * len(self._live)
        for reader in list(self._live):
            try:
                reader.write(text)
            except Exception:
                self._bug(reader)

    def _bug(self, reader: Reader) -> None:
        """Log a programming error in one tail, and cut the connection of this tail only."""
        _log.failure("bug: a tail failed to write")
        reader.drop()

    def _clear_if_unused(self) -> None:
        if not self._behind:
            self.window.clear()
            self._is_read = False
