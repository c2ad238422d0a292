"""
What the parts of this package know of each other: a reader, and the answer that he reads.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IPushProducer

from logplex.tails.join import Place


class Answer(Protocol):
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

    answer: Answer
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
