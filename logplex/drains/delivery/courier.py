# SPDX-License-Identifier: Apache-2.0

"""
The couriers of drains: the methods that each kind of drain must have, and the results.

A courier connects, formats and sends the messages of one drain. It keeps the messages that it has
sent until the receiver has them, also when a connection ends before that.
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
    """
    The number of messages that were lost, and the time of the first loss (seconds since the epoch).
    """

    count: int
    since: float


class Supply(Protocol):
    """
    The messages that a courier sends: those in memory, or those of a durable drain in the journal.

    :ivar messages: the oldest of the waiting messages, the oldest first. A courier takes messages
        from the left, and then calls :meth:`took`.
    :ivar limit: the number of waiting messages for which the drain always has room.
    :ivar wake_at: the number of waiting messages that wakes the drain; set by its lifecycle.
    :ivar give_up: called before waiting messages are dropped. The courier then loses the older
        messages that it holds, except those that are being sent.
    :ivar keeps: true if no message may be given up while the receiver is away or refuses all
        messages.
    """

    messages: deque[bytes]
    limit: int
    wake_at: int
    give_up: Callable[[], None] | None
    keeps: bool

    def took(self, count: int, unparsable: int = 0) -> None:
        """
        Count messages that the courier has taken from the queue.

        :param count: the number of messages that are sent now.
        :param unparsable: the number of messages that cannot be sent, and are dropped.
        """

    def identify(self, offset: int, count: int) -> bytes | None:
        """
        Return the frame id of a batch of sent messages, 32 hex digits; ``None`` if the batch may
        have any id.

        :param offset: the place of the batch's first message among the sent messages; 0 is the
            oldest.
        :param count: the number of messages in the batch.
        """

    def deliver(self, count: int) -> None:
        """
        Count the oldest sent messages as delivered.

        :param count: the number of these messages.
        """

    def lose(self, formatted: Iterable[bytes]) -> None:
        """
        Count the oldest sent messages as lost, because they will not be delivered.

        :param formatted: the lost messages.
        """

    def refuse(self, formatted: list[bytes]) -> bool:
        """
        Record that the receiver has refused the oldest sent message, which was sent alone.

        :return: false if the receiver refuses every message. The next attempt then has to wait, and
            no message counts as sent any more.
        :param formatted: the refused message.
        """

    def put_back(self, messages: list[bytes]) -> None:
        """Put sent messages that were not delivered back before all waiting messages."""

    def clear(self) -> int:
        """
        Stop, and drop all waiting messages that are not kept on the disk. Return the number of
        dropped messages.
        """

    def take_loss(self) -> Loss | None:
        """
        Return the lost messages of which the receiver is told now.

        If the receiver cannot be told, the caller must call :meth:`return_loss`.
        """

    def return_loss(self, loss: Loss | None) -> None:
        """Record lost messages again, because the receiver was not told of them."""

    def told(self, loss: Loss | None) -> None:
        """Record that the receiver was told of lost messages."""


class Postponed(Exception):
    """
    No attempt to connect was made, because drains are already making too many attempts.

    :ivar delay_s: the seconds until the drain may try to connect.
    """

    def __init__(self, delay_s: float) -> None:
        super().__init__("too many connections are being made")
        self.delay_s = delay_s


class ReceiverAway(Exception):
    """
    No attempt to connect was made, because another drain has found that the receiver is away.

    :ivar cause: the failure of the other drain's attempt.
    :ivar delay_s: the seconds until the drain should try to connect. If the receiver is back
        earlier, :meth:`Reports.reachable` is called.
    """

    def __init__(self, cause: Failure, delay_s: float) -> None:
        super().__init__(cause.getErrorMessage())
        self.cause = cause
        self.delay_s = delay_s


class Reports(Protocol):
    """
    The results that a courier reports to its owner. The owner is the drain's lifecycle, or a test
    message.
    """

    def finished(self, at_once: bool = False) -> None:
        """
        Report that every sent message is delivered or lost, and that the connection is free again.

        :param at_once: true if the drain should send the waiting messages now, because they have
            waited already.
        """

    def over(self, delay_s: float = 0.0) -> None:
        """
        Report that the connection has ended, perhaps while messages were being sent.

        :param delay_s: the shortest time until the next connection.
        """

    def reachable(self, delay_s: float) -> None:
        """
        Report that a receiver that was away is back.

        :param delay_s: the seconds after which a drain that waits for the receiver should connect.
        """


class ReceiverConnection(Protocol):
    """
    An open connection to a receiver. After ``close`` or ``abort`` the connection reports nothing
    more.
    """

    def close(self) -> None:
        """Close the connection while nothing is being sent."""

    def abort(self) -> None:
        """Close the connection at once, even while messages are being sent."""


C = TypeVar("C", bound=ReceiverConnection)


class Courier(Protocol[C]):
    """The sender of one drain's messages, over one connection after another."""

    @property
    def under_way(self) -> bool:
        """True while the courier holds messages that it still has to send."""

    def connect(self) -> Deferred[C]:
        """
        Connect to the receiver, and finish the TLS handshake. The caller may cancel the result.

        The result can fail with :class:`Postponed` and :class:`ReceiverAway`.
        """

    def send(self, connection: C) -> None:
        """
        Send the undelivered messages again. If there are none, send the next messages of the
        buffer.

        One call of :meth:`Reports.finished` or :meth:`Reports.over` follows, now or later.
        """

    def refused(self, why: Failure) -> float:
        """
        Record that no connection to the receiver could be made. Return the seconds until the next
        attempt.
        """

    def recall(self) -> None:
        """
        Put the undelivered messages back into the buffer, because another courier will send them.
        """


@define
class Outcome:
    """
    The successes and failures of a drain's deliveries.

    All times are seconds since the epoch.

    :ivar on_failed: called with the reason of each failure, and with the time of the first failure
        after the last success.
    :ivar last_error: a text about the last failure, without the secret parts of the URL.
    :ivar failing_since: the time of the first failure after the last success.
    """

    on_failed: Callable[[str, float], None] = lambda reason, since: None
    last_success: float | None = None
    last_error: str | None = None
    last_error_at: float | None = None
    failing_since: float | None = None

    def succeeded(self, now: float) -> None:
        """Record that the receiver has accepted a message."""
        self.last_success = now
        self.failing_since = None

    def failed(self, now: float, error: str, detail: str = "", notice: bool = True) -> None:
        """
        Record that the receiver could not be reached, or has not accepted the sent messages.

        :param detail: more about the error, which only the owner of the drain sees.
        :param notice: false if the channel is told of this failure in another way.
        """
        self.noted(now, error + detail)
        if self.failing_since is None:
            self.failing_since = now
        if notice:
            self.on_failed(error, self.failing_since)

    def noted(self, now: float, error: str) -> None:
        """Record that a message cannot be sent, although the receiver is not the reason."""
        self.last_error = error
        self.last_error_at = now
