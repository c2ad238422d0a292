"""
A connection to a Redis: txredisapi's protocols, with what a link needs to watch over them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import txredisapi
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from logplex.interfaces import StoreAway

_log = Logger()

#: A command's name and arguments; text is sent as UTF-8.
Argument = bytes | str | int
#: What Redis answers where it cannot now but may later. Whatever else it refuses is our mistake.
_PASSING = (
    "BUSY",
    "CLUSTERDOWN",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "NOAUTH",
    "NOREPLICAS",
    "OOM",
    "READONLY",
    "TRYAGAIN",
)


class _Connection:
    """
    What both kinds have beside txredisapi's protocols.

    :ivar quiet: how often somebody has looked at it since something came, or since a command was
        given while none was waiting.
    :ivar reason: why it was lost.
    """

    transport: Any
    replyQueue: Any
    quiet = 0
    reason: BaseException | None = None

    def __init__(self) -> None:
        super().__init__(charset=None, convertNumbers=False)  # type: ignore[call-arg]
        self._waiting_for_end: list[Deferred[None]] = []

    def dataReceived(self, data: bytes, unpause: bool = False) -> None:
        self.quiet = 0
        try:
            super().dataReceived(data, unpause)  # type: ignore[misc]
        except txredisapi.InvalidData:
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure) -> None:
        self.reason = reason.value
        # This fails the commands that wait; only then is anybody told that the connection is lost.
        super().connectionLost(reason)  # type: ignore[misc]
        for waiting in self._waiting_for_end:
            waiting.callback(None)

    def ended(self) -> Deferred[None]:
        """Fires when the connection is lost."""
        if self.reason is not None:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._waiting_for_end.append(waiting)
        return waiting

    def waiting(self) -> int:
        """How many commands have no answer yet."""
        return len(self.replyQueue.waiting)

    def give(self, command: Sequence[Argument]) -> Deferred[Any]:
        """Send a command."""
        if not self.waiting():
            self.quiet = 0
        answer: Deferred[Any] = self.execute_command(*command)  # type: ignore[attr-defined]
        return answer.addErrback(_away)

    def end(self) -> Deferred[None]:
        """Close it, whatever it is doing; fires when it is closed."""
        self.transport.abortConnection()
        return self.ended()


class Commands(_Connection, txredisapi.RedisProtocol):  # type: ignore[misc]
    """Commands and answers."""


class Subscriptions(_Connection, txredisapi.SubscriberProtocol):  # type: ignore[misc]
    """(Un)subscribing, and what is published."""

    received: Callable[[bytes, bytes], None]

    def messageReceived(self, pattern: bytes | None, channel: bytes, message: bytes) -> None:
        try:
            self.received(channel, message)
        except Exception:
            _log.failure("bug: nobody could take what was published")


def _away(failure: Failure) -> Failure:
    """Tell a Redis that is away from one that refuses."""
    error = failure.value
    if isinstance(error, txredisapi.ConnectionError):
        raise StoreAway("the connection to Redis was lost") from error
    if isinstance(error, txredisapi.ResponseError) and str(error).startswith(_PASSING):
        raise StoreAway(f"Redis: {error}") from error
    return failure
