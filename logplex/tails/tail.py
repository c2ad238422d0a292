"""
One reader: its past, then the live messages, written as fast as the client reads.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from logplex.live import Live
from logplex.metrics import Counters
from logplex.settings import Limits
from logplex.tails.group import BLOCK_BYTES, Group, OpenAnswer
from logplex.tails.join import Past
from logplex.tails.view import View
from logplex.tails.window import Entry, Place


@define(eq=False, repr=False)
class Budget:
    """
    The memory for pasts that are not written yet, of all readers together.

    :ivar used_bytes: may exceed the bound by one past.
    """

    limits: Live[Limits]
    used_bytes: int = 0

    @property
    def is_spent(self) -> bool:
        return self.used_bytes >= self.limits.now.tail_history_bytes


@implementer(IPushProducer)
@define(eq=False, repr=False)
class Tail:
    """
    An open session. Nothing is formatted for it while its transport has no room.

    :param now: gives the seconds since the epoch.
    :ivar group: gives the live messages; ``None``: the answer ends after the past.
    :ivar place: the place in the group's window.
    :ivar written_s: the time of the last write, in seconds since the epoch.
    :ivar is_over: true once the answer has ended or the client is gone.
    :ivar is_paused: true while the transport has no room.
    """

    view: View
    answer: OpenAnswer
    counters: Counters
    budget: Budget
    now: Callable[[], float]
    group: Group | None = None
    place: Place = field(factory=Place)
    written_s: float = 0.0
    is_over: bool = False
    is_paused: bool = False
    _finale: bytes = b""
    #: The rest of the past, newest first; ``None`` before there is one.
    _past: list[Entry] | None = None
    _past_bytes: int = 0
    #: The number up to which the past goes; 0 if it is not known that the reader has seen all.
    _past_last: int = 0

    def begin(self, past: Past, overture: bytes = b"", finale: bytes = b"") -> None:
        """
        Start to write.

        :param overture: a notice before the past.
        :param finale: a notice after the past, if there is no group.
        """
        self._past = past.entries[::-1]
        self._past_bytes = sum([entry.size_bytes for entry in past.entries])
        self.budget.used_bytes += self._past_bytes
        self._past_last = past.last if past.is_whole else 0
        self.place.seen = past.seen
        self._finale = finale
        self.answer.start(self)
        opening = self.view.comment(past.comment) if past.comment else b""
        if overture:
            opening += self.view.notice(overture)
        if self.group is not None and self._past_last and not past.entries:
            opening += self.view.position(self._past_last)
        if opening:
            self.write(opening)
        self.pump()

    def write(self, text: bytes) -> None:
        """Write what the reader is shown next."""
        self.written_s = self.now()
        self.answer.write(text)

    def pump(self) -> None:
        """Write whatever there is, as long as the transport has room."""
        while not (self.is_paused or self.is_over or self._past is None):
            text = self._next()
            if not text:
                return
            self.write(text)

    def keep_alive(self) -> None:
        """
        Write a sign of life, with the number up to which the reader has seen all: a client that is
        cut resumes there, even if no message that it wants has had a number.
        """
        if self.is_paused:
            return
        number = None
        if self._past_last and self.group is not None and self.group.is_live(self):
            number = max(self._past_last, self.group.last())
        self.write(self.view.position(number))

    def end(self, notice: bytes = b"") -> None:
        """
        End the answer. If it has not begun it never will.

        :param notice: a line that the reader is shown last.
        """
        if self.is_over:
            return
        has_begun = self._past is not None
        self._leave()
        if has_begun:
            if notice:
                self.write(self.view.notice(notice))
            self.answer.finish()

    def drop(self) -> None:
        """Cut the connection."""
        if not self.is_over:
            self._leave()
            self.answer.abort()

    def lost(self) -> None:
        """Note that the client is gone."""
        if not self.is_over:
            self._leave()

    # Called by the transport.

    def pauseProducing(self) -> None:
        """Note that there is no room."""
        self.is_paused = True
        if self.group is not None:
            self.group.fall_behind(self)

    def resumeProducing(self) -> None:
        """Note that there is room again."""
        self.is_paused = False
        self.pump()

    def stopProducing(self) -> None:
        """Note that there will never be room again."""
        self.lost()

    # Internals.

    def _next(self) -> bytes:
        if self._past:
            return b"".join(self.view.texts(self._take_past()))
        self._release_past()
        if self.group is not None:
            return self.group.take(self)
        self.end(self._finale)
        return b""

    def _take_past(self) -> list[Entry]:
        entries: list[Entry] = []
        size_bytes = 0
        while self._past and size_bytes < BLOCK_BYTES:
            entry = self._past.pop()
            size_bytes += entry.size_bytes
            entries.append(entry)
        self.counters.tail_delivered += len(entries)
        return entries

    def _release_past(self) -> None:
        self.budget.used_bytes -= self._past_bytes
        self._past_bytes = 0

    def _leave(self) -> None:
        self.is_over = True
        self._release_past()
        self._past = []
        if self.group is not None:
            self.group.leave(self)
