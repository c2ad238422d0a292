# SPDX-License-Identifier: Apache-2.0

"""The states of a drain. Each state is a class with the data that exists only in that state."""

from __future__ import annotations

from enum import Enum
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from logplex.drains.delivery.courier import ReceiverConnection


class Phase(Enum):
    """The names of a drain's states, as a status shows them."""

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
    The state of a drain without a connection and without messages to send.

    :ivar not_before: the earliest time of the next attempt to connect.
    """

    phase = Phase.RESTING
    not_before: float = 0.0


@define(eq=False, repr=False)
class Waiting:
    """
    The state of a drain that has messages to send, but may not connect before a certain time.

    :ivar parked: true if the drain waits for a signal that the receiver is back.
    """

    phase = Phase.WAITING
    timer: IDelayedCall
    until: float
    parked: bool


@define(eq=False, repr=False)
class Connecting:
    """The state of a drain that is connecting to its receiver."""

    phase = Phase.CONNECTING
    attempt: Deferred[Any]


@define(eq=False, repr=False)
class Connected:
    """The state of a drain whose connection is open but unused. A timer closes the connection."""

    phase = Phase.CONNECTED
    open: Open
    timer: IDelayedCall


@define(eq=False, repr=False)
class Lingering:
    """
    The state of a drain whose messages wait until there are more messages. A timer ends the wait.
    """

    phase = Phase.LINGERING
    open: Open
    timer: IDelayedCall


@define(eq=False, repr=False)
class Sending:
    """The state of a drain whose courier is sending messages."""

    phase = Phase.SENDING
    open: Open


@define(eq=False, repr=False)
class Retiring:
    """
    The state of a drain that moves to another receiver while its courier still finishes sending.
    """

    phase = Phase.RETIRING
    open: Open


@define(eq=False, repr=False)
class Stopped:
    """The state of a drain that has stopped for good."""

    phase = Phase.STOPPED


State = Resting | Waiting | Connecting | Connected | Lingering | Sending | Retiring | Stopped
