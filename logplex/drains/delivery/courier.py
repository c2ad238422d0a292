"""
The kinds of drain, as their common life sees them: how one drain's messages travel.

The kinds differ in how they connect, format, send and forgive. All of that is in a courier, which
also keeps what is under way when a connection breaks.
"""

from __future__ import annotations

from typing import Protocol

from attrs import define
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure


@define
class Outcome:
    """
    Times are seconds since the epoch.

    :ivar failing_since: the first failure after the last success.
    :ivar last_error: for people, without anything secret of the URL.
    """

    last_success: float | None = None
    failing_since: float | None = None
    last_error: str | None = None
    last_error_at: float | None = None

    def succeeded(self, now: float) -> None:
        """The receiver took something."""
        self.last_success = now
        self.failing_since = None

    def failed(self, now: float, error: str) -> None:
        """The receiver could not be reached, or did not take what was sent."""
        self.noted(now, error)
        if self.failing_since is None:
            self.failing_since = now

    def noted(self, now: float, error: str) -> None:
        """A message could not be sent, which says nothing about the receiver."""
        self.last_error = error
        self.last_error_at = now

    def failing_s(self, now: float) -> float:
        """For how long nothing has succeeded."""
        return 0.0 if self.failing_since is None else now - self.failing_since


class Reports(Protocol):
    """What a courier and its connections tell the drain's life."""

    def finished(self, at_once: bool = False) -> None:
        """
        What was sent is settled, and the connection can serve again.

        :param at_once: what waits needs no company: it has waited already.
        """

    def over(self, delay_s: float = 0.0) -> None:
        """
        The connection is over, whether or not something was being sent.

        :param delay_s: so long no other one may be made.
        """


class ReceiverConnection(Protocol):
    """An open connection to the receiver. Closed or aborted, it reports nothing more."""

    def send(self) -> None:
        """
        Send what is under way, or else the next of what the buffer holds. Ends, now or later,
        in one call of :meth:`Reports.finished` or :meth:`Reports.over`.
        """

    def close(self) -> None:
        """Say good-bye; nothing is under way on it."""

    def abort(self) -> None:
        """Be gone at once."""


class Courier(Protocol):
    """How one drain's messages travel. It outlives connections."""

    @property
    def under_way(self) -> bool:
        """Whether something was taken from the buffer that has to be sent again."""

    def connect(self, reports: Reports) -> Deferred[ReceiverConnection]:
        """Make a connection that can be used at once (TLS included). May be cancelled."""

    def refused(self, why: Failure) -> float:
        """No connection could be made. In how many seconds the next attempt may be."""

    def recall(self) -> None:
        """Put what is under way back into the buffer: it will not be sent from here."""
