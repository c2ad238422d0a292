# SPDX-License-Identifier: Apache-2.0

"""
The couriers of drains: the contract that each kind of drain fulfils, and the results.

A courier connects, formats and sends the messages of one drain. It keeps what it has sent until
the receiver has it, also over the end of a connection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from attrs import define, frozen
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure


@frozen
class Loss:
    """The number of messages that were lost, and when the first was (seconds since the epoch)."""

    count: int
    since: float


class Supply(Protocol):
    """
    The messages of one drain: those in memory, or those of a durable drain in the journal.

    :ivar messages: the oldest of the waiting messages, the oldest first; couriers take from the
        left, and say so with :meth:`took`.
    :ivar limit: the number of waiting messages of which the drain is sure.
    :ivar wake_at: the number of waiting messages that wakes the drain; set by its lifecycle.
    :ivar give_up: called before waiting messages are dropped: a courier loses what is older than
        they, but for what is just being sent.
    :ivar keeps: true if no message may be given up while its receiver is away or refuses all.
    """

    messages: deque[bytes]
    limit: int
    wake_at: int
    give_up: Callable[[], None] | None
    keeps: bool

    def took(self, count: int, unparsable: int = 0) -> None:
        """Note messages that left the queue: to be sent, or since they cannot be sent."""

    def identify(self, offset: int, count: int) -> bytes | None:
        """
        Return the frame id of messages under way, 32 hex digits; ``None`` if any id will do.

        :param offset: the place of the first of them; 0 is the oldest under way.
        """

    def deliver(self, count: int) -> None:
        """Note messages, the oldest under way, that have arrived."""

    def lose(self, formatted: Iterable[bytes]) -> None:
        """Note messages, the oldest under way, that will not arrive."""

    def refuse(self, formatted: list[bytes]) -> bool:
        """
        Note that the oldest message under way was refused alone.

        :return: false if the receiver refuses every message: the next try has to wait, and nothing
            is under way any more.
        """

    def put_back(self, messages: list[bytes]) -> None:
        """Put messages that were under way before all others again."""

    def clear(self) -> int:
        """Stop: lose all that waits, but for what is kept. Return the number of messages."""

    def take_loss(self) -> Loss | None:
        """
        Return the loss that the receiver is told of now. If it cannot be told,
        :meth:`return_loss` takes it again.
        """

    def return_loss(self, loss: Loss | None) -> None:
        """Take a loss again of which the receiver was not told."""

    def told(self, loss: Loss | None) -> None:
        """Note that the receiver was told of a loss."""


class Postponed(Exception):
    """
    No attempt was made, because too many are being made.

    :ivar delay_s: the seconds until the drain may try.
    """

    def __init__(self, delay_s: float) -> None:
        super().__init__("too many connections are being made")
        self.delay_s = delay_s


class ReceiverAway(Exception):
    """
    No attempt was made, because another drain has found that the receiver is away.

    :ivar cause: the failure of the other drain.
    :ivar delay_s: the seconds until the drain should try; it is told earlier if the receiver is
        there before.
    """

    def __init__(self, cause: Failure, delay_s: float) -> None:
        super().__init__(cause.getErrorMessage())
        self.cause = cause
        self.delay_s = delay_s


class Reports(Protocol):
    """The results that a courier reports to its owner: the drain's lifecycle, or a test message."""

    def finished(self, at_once: bool = False) -> None:
        """
        Note that everything that was sent is delivered or lost, and the connection is free again.

        :param at_once: the waiting messages have waited already; send them without a linger.
        """

    def over(self, delay_s: float = 0.0) -> None:
        """
        Note that the connection has ended; something may just have been sent.

        :param delay_s: the shortest time until the next connection.
        """

    def reachable(self, delay_s: float) -> None:
        """
        The receiver is there, which was away.

        :param delay_s: the seconds after which a drain that waits for it should connect.
        """


class ReceiverConnection(Protocol):
    """An open connection to a receiver. After ``close`` or ``abort`` it reports nothing more."""

    def close(self) -> None:
        """Close the connection; nothing is being sent on it."""

    def abort(self) -> None:
        """Cut the connection to the receiver."""


C = TypeVar("C", bound=ReceiverConnection)


class Courier(Protocol[C]):
    """Delivers the messages of one drain, over one connection after another."""

    @property
    def under_way(self) -> bool:
        """True while the courier holds messages of the buffer that it still has to send."""

    def connect(self) -> Deferred[C]:
        """
        Make a connection, and finish its TLS handshake. May be cancelled.

        May fail with :class:`Postponed` and :class:`ReceiverAway`.
        """

    def send(self, connection: C) -> None:
        """
        Send again what was not delivered, or else the next messages of the buffer.

        Causes one call of :meth:`Reports.finished` or :meth:`Reports.over`, now or later.
        """

    def refused(self, why: Failure) -> float:
        """Note that no connection could be made. Return the seconds until the next attempt."""

    def recall(self) -> None:
        """
        Put the messages that are not delivered back into the buffer: another courier will send
        them.
        """


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
        """Note that the receiver accepted something."""
        self.last_success = now
        self._failing_since = None

    def failed(self, now: float, error: str, detail: str = "", notice: bool = True) -> None:
        """
        Note that the receiver could not be reached, or did not accept what was sent.

        :param detail: more about the error, for the owner of the drain only.
        :param notice: false if the channel is told of this failure in another way.
        """
        self.noted(now, error + detail)
        if self._failing_since is None:
            self._failing_since = now
        if notice:
            self.on_failed(error, self._failing_since)

    def noted(self, now: float, error: str) -> None:
        """Note that a message cannot be sent, for a reason other than the receiver."""
        self.last_error = error
        self.last_error_at = now
