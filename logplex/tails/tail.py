# SPDX-License-Identifier: Apache-2.0

"""
One reader of a session: its recent messages, then the live messages, written as fast as the client
reads.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field
from twisted.internet.interfaces import IPushProducer, IReactorTime
from zope.interface import implementer

from logplex.clock import wall_s
from logplex.live import Live
from logplex.metrics import Counters
from logplex.settings import Limits
from logplex.syslog.notices import l11_line
from logplex.tails.group import BLOCK_BYTES, Group, OpenAnswer
from logplex.tails.join import Message, Past
from logplex.tails.pasts import Pasts
from logplex.tails.view import View
from logplex.tails.window import Place


@implementer(IPushProducer)
@define(eq=False, repr=False)
class Tail:
    """
    A reader of a session. While the transport is full, no messages are formatted for the reader.

    :param channel_id: the channel that is read.
    :param pasts: bounds the memory for recent messages that the reader has not read yet.
    :ivar group: the group that gives the live messages; ``None`` if the answer ends after the
        recent messages.
    :ivar place: the reader's place in the group's window.
    :ivar written_s: the time of the last write, in seconds of the clock.
    :ivar is_over: true if the answer has ended or the client has disconnected.
    :ivar is_paused: true while the transport is full.
    """

    channel_id: str
    view: View
    answer: OpenAnswer
    limits: Live[Limits]
    counters: Counters
    pasts: Pasts
    clock: IReactorTime
    group: Group | None = None
    place: Place = field(factory=Place)
    written_s: float = 0.0
    is_over: bool = False
    is_paused: bool = False
    _finale: bytes = b""
    #: The rest of the past, newest first; ``None`` before there is one.
    _past: list[Message] | None = None
    #: The count of messages that were dropped from the beginning of the rest, and the time of it.
    _lost: int = 0
    _lost_since: float = 0.0
    #: The number up to which the past goes; 0 if it is not known that the reader has seen all.
    _past_last: int = 0

    def begin(self, past: Past, overture: bytes = b"", finale: bytes = b"") -> None:
        """
        Start to write the recent messages to the client.

        :param past: the recent messages.
        :param overture: a notice that is written before the recent messages.
        :param finale: a notice that is written after the recent messages if no live messages
            follow.
        """
        messages = self._within_bound(past.messages)
        self._past = self.pasts.hold(self.channel_id, self, messages)[::-1]
        self._past_last = past.last if past.is_whole else 0
        self.place.seen = past.seen
        self._finale = finale
        self.answer.start(self)
        opening = self.view.comment(past.comment) if past.comment else b""
        if overture:
            opening += self.view.notice(overture)
        if self.group is not None and self._past_last and not past.messages:
            opening += self.view.position(self._past_last)
        if opening:
            self.write(opening)
        self.pump()

    def write(self, text: bytes) -> None:
        """Write bytes to the client."""
        self.written_s = self.clock.seconds()
        self.answer.write(text)

    def pump(self) -> None:
        """Write the recent messages, then the live messages, as long as the transport has room."""
        while not (self.is_paused or self.is_over or self._past is None):
            text = self._next()
            if not text:
                return
            self.write(text)

    def keep_alive(self) -> None:
        """
        Write a keepalive. If the reader has seen all messages, the keepalive contains the number of
        the channel's last message.

        A client that reconnects continues after this number, even if its filters have hidden the
        last messages.
        """
        if self.is_paused:
            return
        number = None
        if self._past_last and self.group is not None and self.group.is_live(self):
            number = max(self._past_last, self.group.last())
        self.write(self.view.position(number))

    def end(self, notice: bytes = b"") -> None:
        """
        End the answer. If the tail has not begun, write nothing.

        :param notice: the last line that the reader is shown; empty for none.
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
        """Cut the connection to the client at once."""
        if not self.is_over:
            self._leave()
            self.answer.abort()

    def lost(self) -> None:
        """End the tail, because the client has disconnected."""
        if not self.is_over:
            self._leave()

    def lose_past(self) -> None:
        """
        Drop the recent messages that the reader has not read. A notice tells the reader later.
        """
        past, self._past = self._past or [], []
        self._lose(len(past))
        self.pasts.release(self.channel_id, self, past, is_last=True)

    # Called by the transport.

    def pauseProducing(self) -> None:
        """Stop writing, because the transport is full."""
        self.is_paused = True
        if self.group is not None:
            self.group.fall_behind(self)

    def resumeProducing(self) -> None:
        """Continue to write, because the transport has room again."""
        self.is_paused = False
        self.pump()

    def stopProducing(self) -> None:
        """End the tail, because the connection is closed."""
        self.lost()

    # Internals.

    def _next(self) -> bytes:
        if self._lost:
            notice = self.view.notice(l11_line(wall_s(self.clock), self._lost, self._lost_since))
            self._lost = 0
            return notice
        if self._past:
            return self.view.show(self._take_past())
        if self.group is not None:
            return self.group.take(self)
        self.end(self._finale)
        return b""

    def _within_bound(self, messages: Sequence[Message]) -> Sequence[Message]:
        """
        Return the newest messages that fit into one reader's bound of memory; at least one message.
        Count the other messages as lost.
        """
        room = self.limits.now.tail_reader_bytes
        for index in range(len(messages) - 1, -1, -1):
            room -= len(messages[index][1])
            if room < 0 and index < len(messages) - 1:
                self._lose(index + 1)
                return messages[index + 1 :]
        return messages

    def _lose(self, count: int) -> None:
        if count and not self._lost:
            self._lost_since = wall_s(self.clock)
        self._lost += count
        self.counters.tail_dropped += count

    def _take_past(self) -> list[Message]:
        taken: list[Message] = []
        size_bytes = 0
        while self._past and size_bytes < BLOCK_BYTES:
            message = self._past.pop()
            size_bytes += len(message[1])
            taken.append(message)
        self.pasts.release(self.channel_id, self, taken, is_last=not self._past)
        self.counters.tail_delivered += len(taken)
        return taken

    def _leave(self) -> None:
        self.is_over = True
        past, self._past = self._past or [], []
        self.pasts.release(self.channel_id, self, past, is_last=True)
        if self.group is not None:
            self.group.leave(self)
