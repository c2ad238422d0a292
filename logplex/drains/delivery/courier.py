"""
The couriers of drains: the contract that each kind of drain fulfils, and the results.

A courier connects, formats and sends the messages of one drain. It keeps what it has sent until
the receiver has it, also over the end of a connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from attrs import define
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure


class Reports(Protocol):
    """The results that a courier reports: the drain's lifecycle takes them, or a test message."""

    def finished(self, at_once: bool = False) -> None:
        """
        Everything that was sent is settled, and the connection is free again.

        :param at_once: the waiting messages have waited already; send them without a linger.
        """

    def over(self, delay_s: float = 0.0) -> None:
        """
        The connection has ended, with or without something being sent.

        :param delay_s: the shortest time until the next connection.
        """


class ReceiverConnection(Protocol):
    """An open connection to a receiver. After ``close`` or ``abort`` it reports nothing more."""

    def close(self) -> None:
        """End the connection politely; nothing is being sent on it."""

    def abort(self) -> None:
        """End the connection now."""


C = TypeVar("C", bound=ReceiverConnection)


class Courier(Protocol[C]):
    """Delivers the messages of one drain, over one connection after another."""

    @property
    def under_way(self) -> bool:
        """True while the courier holds messages of the buffer that it still has to send."""

    def connect(self) -> Deferred[C]:
        """Make a connection that can be used at once (TLS included). May be cancelled."""

    def send(self, connection: C) -> None:
        """
        Send what is under way, or else the next messages of the buffer.

        Causes one call of :meth:`Reports.finished` or :meth:`Reports.over`, now or later.
        """

    def refused(self, why: Failure) -> float:
        """Take note that no connection could be made. Return the seconds until the next try."""

    def recall(self) -> None:
        """Put what is under way back into the buffer: this courier will not send it."""


@define
class Outcome:
    """
    The results of a drain's deliveries.

    Times are seconds since the epoch.

    :ivar on_failed: called with the reason of each failure, and with the time of the first failure
        after the last success.
    :ivar last_error: a text for people, without the secret parts of the URL.
    """

    on_failed: Callable[[str, float], None] = lambda reason, since: None
    last_success: float | None = None
    last_error: str | None = None
    last_error_at: float | None = None
    _failing_since: float | None = None

    def succeeded(self, now: float) -> None:
        """Take note that the receiver took something."""
        self.last_success = now
        self._failing_since = None

    def failed(self, now: float, error: str, detail: str = "", notice: bool = True) -> None:
        """
        Take note that the receiver could not be reached, or did not take what was sent.

        :param detail: more about the error, for the owner of the drain only.
        :param notice: false if the channel gets another notice about this.
        """
        self.noted(now, error + detail)
        if self._failing_since is None:
            self._failing_since = now
        if notice:
            self.on_failed(error, self._failing_since)

    def noted(self, now: float, error: str) -> None:
        """Take note of a message that cannot be sent, which says nothing about the receiver."""
        self.last_error = error
        self.last_error_at = now
