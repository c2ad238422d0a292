"""
One reader: the history, then the live messages, written as fast as he reads.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from logplex.metrics import Counters
from logplex.settings import Limits
from logplex.tails.group import BLOCK_BYTES, Group, OpenAnswer
from logplex.tails.join import Past, Place
from logplex.tails.view import View
from logplex.tails.window import Entry


@define(eq=False, repr=False)
class Budget:
    """
    What histories that readers have not read yet may take, all together.

    :ivar used_bytes: may go over the bound by one history.
    """

    limits: Limits
    used_bytes: int = 0

    @property
    def is_spent(self) -> bool:
        return self.used_bytes >= self.limits.tail_history_bytes


@implementer(IPushProducer)
@define(eq=False, repr=False)
class Tail:
    """
    An open session: nothing is formatted for it while its transport has no room.

    :param now: seconds since the epoch.
    :ivar group: where the live messages come from; ``None``: it ends after the history.
    :ivar written_s: when something was last written, in seconds since the epoch.
    :ivar is_over: it has ended, or its reader is gone.
    """

    view: View
    answer: OpenAnswer
    counters: Counters
    budget: Budget
    now: Callable[[], float]
    group: Group | None = None
    place: Place = field(factory=lambda: Place(0))
    written_s: float = 0.0
    is_over: bool = False
    is_paused: bool = False
    _finale: bytes = b""
    #: What is left of the history, newest first; ``None`` before it has come.
    _history: list[Entry] | None = None
    _history_bytes: int = 0
    _is_whole: bool = False

    def begin(self, history: Past, overture: bytes = b"", finale: bytes = b"") -> None:
        """
        Start to write.

        :param overture: a line that the reader is told before the history.
        :param finale: what the reader is told after the history, if there is no group.
        """
        self._history = history.entries[::-1]
        self._history_bytes = sum([entry.size_bytes for entry in history.entries])
        self.budget.used_bytes += self._history_bytes
        self._finale = finale
        self._is_whole = history.is_whole
        self.place.answered(history.floor)
        self.answer.start(self)
        opening = self.view.comment(history.comment) if history.comment else b""
        if overture:
            opening += self.view.notice(overture)
        if self.group is not None and history.is_whole and history.floor and not history.entries:
            opening += self.view.position(history.floor)
        if opening:
            self.write(opening)
        self.pump()

    def write(self, text: bytes) -> None:
        """Write what the reader gets, which is live or has just been taken for him."""
        self.written_s = self.now()
        self.answer.write(text)

    def pump(self) -> None:
        """Write whatever there is, as long as there is room."""
        while not (self.is_paused or self.is_over or self._history is None):
            text = self._next()
            if not text:
                return
            self.write(text)

    def keep_alive(self) -> None:
        """
        Show a client who has heard nothing that he would, and how far he has come: if he is cut he
        goes on from there, though nothing that he wants to see has had a number.
        """
        if not self.is_paused:
            number = None
            if self._is_whole and self.group is not None:
                number = self.group.position(self)
            self.write(self.view.position(number))

    def end(self, notice: bytes = b"") -> None:
        """
        End the answer. Where it has not begun it never will.

        :param notice: a line that the reader is told before.
        """
        if self.is_over:
            return
        has_begun = self._history is not None
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
        """The reader is gone."""
        if not self.is_over:
            self._leave()

    # What the transport says.

    def pauseProducing(self) -> None:
        """There is no room."""
        self.is_paused = True
        if self.group is not None:
            self.group.fall_behind(self)

    def resumeProducing(self) -> None:
        """There is room."""
        self.is_paused = False
        self.pump()

    def stopProducing(self) -> None:
        """There never will be."""
        self.lost()

    # How it is done.

    def _next(self) -> bytes:
        if self._history:
            return b"".join(self.view.texts(self._take_history()))
        self._release_history()
        if self.group is not None:
            return self.group.take(self)
        self.end(self._finale)
        return b""

    def _take_history(self) -> list[Entry]:
        entries: list[Entry] = []
        size_bytes = 0
        while self._history and size_bytes < BLOCK_BYTES:
            entry = self._history.pop()
            size_bytes += entry.size_bytes
            entries.append(entry)
        self.counters.tail_delivered += len(entries)
        return entries

    def _release_history(self) -> None:
        self.budget.used_bytes -= self._history_bytes
        self._history_bytes = 0

    def _leave(self) -> None:
        self.is_over = True
        self._release_history()
        self._history = []
        if self.group is not None:
            self.group.leave(self)
