# SPDX-License-Identifier: Apache-2.0

"""
The states of a drain: each is a class with the data that exists only in it.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from logplex.drains.delivery.courier import ReceiverConnection


class Phase(Enum):
    """The states of a drain, by the names that a status shows."""

    RESTING = "resting"
    WAITING = "waiting"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    LINGERING = "lingering"
    SENDING = "sending"
    RETIRING = "retiring"
    STOPPED = "stopped"


@define(eq=False, repr=False)
class Open:
    """A connection that can be used, and the time at which it was made."""

    connection: ReceiverConnection
    made_at: float


@define(eq=False, repr=False)
class Resting:
    """
    No connection, and nothing to send.

    :ivar not_before: the earliest time of the next attempt to connect.
    """

    phase = Phase.RESTING
    not_before: float = 0.0


@define(eq=False, repr=False)
class Waiting:
    """
    The drain has something to send, and may not connect before a time.

    :ivar parked: true if the drain waits for a signal that the receiver is back.
    """

    phase = Phase.WAITING
    timer: IDelayedCall
    until: float
    parked: bool


@define(eq=False, repr=False)
class Connecting:
    """A connection is being made."""

    phase = Phase.CONNECTING
    attempt: Deferred[Any]


@define(eq=False, repr=False)
class Connected:
    """The connection is open and not used; the timer ends it."""

    phase = Phase.CONNECTED
    open: Open
    timer: IDelayedCall


@define(eq=False, repr=False)
class Lingering:
    """Messages wait for more messages; the timer ends the wait."""

    phase = Phase.LINGERING
    open: Open
    timer: IDelayedCall


@define(eq=False, repr=False)
class Sending:
    """The courier is sending."""

    phase = Phase.SENDING
    open: Open


@define(eq=False, repr=False)
class Retiring:
    """The courier finishes sending before the drain moves to another receiver."""

    phase = Phase.RETIRING
    open: Open


@define(eq=False, repr=False)
class Stopped:
    """The drain has stopped, for good."""

    phase = Phase.STOPPED


State = Resting | Waiting | Connecting | Connected | Lingering | Sending | Retiring | Stopped
