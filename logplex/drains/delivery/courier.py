"""
The kinds of drain, as their common life sees them: how one drain's messages travel.

The kinds differ in how they connect, format, send and forgive. All of that is in a courier, which
also keeps what is under way when a connection breaks.
"""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from logplex.drains.delivery.linger import Linger


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


class Connection(Protocol):
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

    def connect(self, reports: Reports) -> Deferred[Connection]:
        """Make a connection that can be used at once (TLS included). May be cancelled."""

    def refused(self, why: Failure) -> float:
        """No connection could be made. In how many seconds the next attempt may be."""

    def recall(self) -> None:
        """Put what is under way back into the buffer: it will not be sent from here."""


@frozen
class Pace:
    """
    The times of a kind of drain, in seconds.

    :ivar linger: between one batch and the next, for company, while the drain is busy.
    :ivar linger_messages: so many need no more company.
    :ivar idle_s: a connection that was not used for so long, and up to ``idle_jitter_s`` more,
        is closed.
    :ivar max_age_s: so is one that was made so long ago.
    """

    connect_timeout_s: float
    linger: Linger
    linger_messages: int
    idle_s: float
    idle_jitter_s: float
    max_age_s: float


class Phase(Enum):
    """Where in its life a drain is, for whoever asks."""

    RESTING = "resting"
    WAITING = "waiting"
    CONNECTING = "connecting"
    QUIET = "connected"
    LINGERING = "lingering"
    SENDING = "sending"
    RETIRING = "retiring"
    STOPPED = "stopped"
