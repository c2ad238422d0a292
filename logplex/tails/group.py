# SPDX-License-Identifier: Apache-2.0

"""
The tails of one channel that are shown the same bytes: equal filters, one format.
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
    """The answer that a reader reads: an HTTP answer, or a list in a test."""

    @property
    def is_closed(self) -> bool:
        """True once the connection is gone."""

    def history_is_away(self) -> None:
        """
        Note for the head, which is not written yet, that the recent messages cannot be read now.
        """

    def start(self, producer: IPushProducer) -> None:
        """
        Write the head. From now on tell the producer when the transport has room and when not.
        """

    def write(self, text: bytes) -> None:
        """Write a part of the body."""

    def finish(self) -> None:
        """End the answer."""

    def abort(self) -> None:
        """Cut the connection to the reader."""


class Reader(Protocol):
    """A tail, as its group knows it."""

    answer: OpenAnswer
    place: Place

    def write(self, text: bytes) -> None:
        """
        Write the next bytes. If the transport has no room after them, the reader falls behind.
        """

    def pump(self) -> None:
        """Write the next entries of the group, as long as the transport has room."""

    def end(self, notice: bytes) -> None:
        """End the answer, after a last notice if one is given."""

    def drop(self) -> None:
        """Cut the connection at once."""

    def lost(self) -> None:
        """Note that the client is gone."""


@define(eq=False, repr=False)
class Group:
    """
    Write each block of messages to the live tails at once. Tails that are behind take it from the
    window later: their past is not written yet, their transport has no room, or they have seen the
    present messages on another node.

    :param now: gives the seconds since the epoch, for stamps.
    :param last: gives the newest number that the channel's groups have been told of.
    :param emptied: called when the last tail has left.
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
        Show live messages to all tails of the group, now or when they have room.

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
        """Show all tails a notice, in its place among the messages."""
        text = self.view.notice(line)
        if self._behind:
            self.window.append([Entry.notice(text)])
        self._write(text, 0)
        self.pump()

    def pump(self) -> None:
        """Let the tails that are behind take new entries."""
        for reader in list(self._behind):
            try:
                reader.pump()
            except Exception:
                self._bug(reader)

    def begin_again(self) -> None:
        """
        Note that numbers begin again below the earlier ones: all messages from now on are new.
        """
        for reader in self.readers():
            reader.place.seen = 0

    def trim(self) -> bool:
        """
        Remove the entries beyond the window's bounds, and count them for each tail that has lost
        them.

        While a tail is reading from the window, not the tail is too slow but the node too busy.
        Then the bounds are larger by the factor ``PATIENCE``.

        :return: true if the window must be trimmed again soon.
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
        """Add a tail. All messages from now on are new to it."""
        reader.place = Place(self.window.end)
        self._behind[reader] = None

    def leave(self, reader: Reader) -> None:
        """Remove a tail. It may have been removed already."""
        self._live.pop(reader, None)
        self._behind.pop(reader, None)
        self._clear_if_unused()
        if not len(self):
            self.emptied(self)

    def fall_behind(self, reader: Reader) -> None:
        """Note that a tail's transport has no room."""
        if reader in self._live:
            del self._live[reader]
            reader.place.position = self.window.end
            self._behind[reader] = None

    def is_live(self, reader: Reader) -> bool:
        """Return whether a tail has been shown everything so far."""
        return reader in self._live

    def take(self, reader: Reader) -> bytes:
        """
        Return the next bytes for a tail that is behind. If there are none, the tail has caught up,
        and is live as soon as messages are new to it.
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
        """Log a bug in one tail, which costs only itself."""
        _log.failure("bug: a tail failed to write")
        reader.drop()

    def _clear_if_unused(self) -> None:
        if not self._behind:
            self.window.clear()
            self._is_read = False
