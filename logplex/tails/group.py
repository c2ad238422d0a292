"""
The tails of one channel whose readers see the same: equal filters, one format.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import define, field
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger

from logplex.metrics import Counters
from logplex.settings import Limits
from logplex.syslog.notices import l11_line
from logplex.tails.join import Place
from logplex.tails.view import Block, View
from logplex.tails.window import Entry, Window

_log = Logger()

#: What is handed to a reader at once. A transport asks for a pause at 64 KiB, and the kernel
#: takes up to 128 KiB of one at a time.
BLOCK_BYTES = 65_536

#: A buffer may grow to so many times its bounds while its readers read.
PATIENCE = 16


class OpenAnswer(Protocol):
    """Where a reader's lines go: an HTTP answer, or a list in a test."""

    @property
    def is_closed(self) -> bool:
        """Whether the connection is gone."""

    def history_is_away(self) -> None:
        """Say in the head, which is not written yet, that the history cannot be had now."""

    def start(self, producer: IPushProducer) -> None:
        """Say what follows, and tell the producer from now on when there is no room."""

    def write(self, text: bytes) -> None:
        """Send something."""

    def finish(self) -> None:
        """Everything has been written."""

    def abort(self) -> None:
        """Cut the connection."""


class Reader(Protocol):
    """Who reads: what a group knows of an open tail."""

    answer: OpenAnswer
    place: Place

    def write(self, text: bytes) -> None:
        """Take what comes next. May say in the course of it that there is no more room."""

    def pump(self) -> None:
        """Take from the group whatever there is, as long as there is room."""

    def end(self, notice: bytes) -> None:
        """End the answer, after a last line if there is one."""

    def drop(self) -> None:
        """End at once, and without a word."""

    def lost(self) -> None:
        """The client is gone."""


@define(eq=False, repr=False)
class Group:
    """
    Who is live gets every batch as it comes; who is behind takes it from the window.

    Behind are readers whose history is not out yet, who are paused, or whose history goes
    further than what has come live.

    :param now: seconds since the epoch.
    :param emptied: told when the last reader has left.
    :ivar last: the newest number that has come live; 0 where there is none.
    """

    view: View
    counters: Counters
    now: Callable[[], float]
    limits: Limits
    emptied: Callable[[Group], None]
    last: int = 0
    window: Window = field(factory=Window)
    _live: dict[Reader, None] = field(factory=dict)
    _behind: dict[Reader, None] = field(factory=dict)
    #: Whether somebody has read from the window since it was last trimmed.
    _is_read: bool = False

    def __len__(self) -> int:
        return len(self._live) + len(self._behind)

    # What the channel tells.

    def publish(self, block: Block) -> None:
        """Show live messages to everybody here, now or when he reads on."""
        if self._live:
            numbers, texts = block.shown(self.view)
            if self._behind:
                self.window.append(list(map(Entry.formatted, numbers, texts)))
            else:
                self.window.skip(len(texts))
            self._write(b"".join(texts), len(texts))
        else:
            self.window.append(block.matching(self.view))
        self.last = block.numbers[-1] or self.last
        self._pump()

    def tell(self, line: bytes) -> None:
        """Show everybody a notice, in its place among the messages."""
        text = self.view.notice(line)
        if self._behind:
            self.window.append([Entry.notice(text)])
        self._write(text, 0)
        self._pump()

    def begin_again(self) -> None:
        """Numbers begin again below those of before: what comes from now on is new to everybody."""
        self.last = 0
        for reader in self.readers():
            if reader.place.floor is not None:
                reader.place.floor = 0

    def trim(self) -> bool:
        """
        Let go of what is older than those who are behind may ask for.

        While one of them reads, he is not too slow but the node too busy: then he gets more time,
        up to a larger bound.

        :return: whether to look again soon.
        """
        is_read, self._is_read = self._is_read, False
        factor = PATIENCE if is_read else 1
        pushed_out = self.window.trim(
            self.limits.tail_buffer_messages * factor, self.limits.tail_buffer_bytes * factor
        )
        self._drop(pushed_out)
        return is_read

    def readers(self) -> list[Reader]:
        """Everybody here."""
        return [*self._live, *self._behind]

    def position(self, reader: Reader) -> int | None:
        """The number up to which a reader has been shown all that he wants, where it is known."""
        if reader not in self._live:
            return None
        return max(reader.place.floor or 0, self.last) or None

    # What a reader tells.

    def enter(self, reader: Reader) -> None:
        """Wait here for the history."""
        reader.place = Place(self.window.end)
        self._behind[reader] = None

    def move_up(self, reader: Reader) -> None:
        """From here on nothing passes this reader, who has entered: his history may be read now."""
        reader.place = Place(self.window.end)

    def leave(self, reader: Reader) -> None:
        """He is gone. May be said twice."""
        self._live.pop(reader, None)
        self._behind.pop(reader, None)
        self._clear_if_unused()
        if not len(self):
            self.emptied(self)

    def fall_behind(self, reader: Reader) -> None:
        """He has no room now."""
        if reader in self._live:
            del self._live[reader]
            reader.place.position = self.window.end
            self._behind[reader] = None

    def take(self, reader: Reader) -> bytes:
        """
        What a reader who is behind is shown next. Where there is nothing, he has caught up, and
        is live as soon as the live messages have reached the end of his history.
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
        if not texts and place.floor is not None and place.floor <= self.last:
            del self._behind[reader]
            self._live[reader] = None
            self._clear_if_unused()
        return b"".join(texts)

    # How it is done.

    def _write(self, text: bytes, messages: int) -> None:
        if not text:
            return
        self.counters.tail_delivered += messages * len(self._live)
        for reader in list(self._live):
            try:
                reader.write(text)
            except Exception:
                self._bug(reader)

    def _pump(self) -> None:
        for reader in list(self._behind):
            try:
                reader.pump()
            except Exception:
                self._bug(reader)

    def _drop(self, pushed_out: list[Entry]) -> None:
        if not pushed_out:
            return
        now = self.now()
        for reader in list(self._behind):
            lost = reader.place.push(self.window.start, pushed_out, now)
            self.counters.tail_dropped += lost
            if reader.place.is_hopeless:
                reader.drop()

    def _bug(self, reader: Reader) -> None:
        """A bug in one tail costs only itself."""
        _log.failure("bug: a tail failed on what it should write")
        reader.drop()

    def _clear_if_unused(self) -> None:
        if not self._behind:
            self.window.clear()
            self._is_read = False
