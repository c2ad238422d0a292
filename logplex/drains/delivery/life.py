"""
What is true of a drain while it lives, and what is done in its states: the machine that moves it
from one to the next is in :mod:`logplex.drains.delivery.lifecycle`.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from logplex.drains.delivery.buffer import NEVER, Buffer
from logplex.drains.delivery.courier import Connection, Courier, Pace, Phase

_log = Logger()


class Inputs(Protocol):
    """What can happen to a drain."""

    def offer(self) -> None:
        """The buffer holds as much as was asked for."""

    def due(self) -> None:
        """The wait of the present state is over."""

    def connected(self) -> None:
        """The attempt gave a connection."""

    def refused(self) -> None:
        """The attempt gave none."""

    def drained(self) -> None:
        """Everything was sent."""

    def advanced(self) -> None:
        """Something was sent, and more waits."""

    def parted(self) -> None:
        """The connection is over, and there is nothing to send."""

    def broken(self) -> None:
        """The connection is over, and there is something to send."""

    def stop(self) -> None:
        """Send what there is, then stop."""

    def retire(self) -> None:
        """Stop as soon as what is being sent has been answered."""

    def abandon(self) -> None:
        """Stop now."""


@define(eq=False, repr=False)
class Life:
    """
    See :class:`~logplex.drains.delivery.courier.Reports` for what couriers and connections tell it.

    :ivar on_refused: told why a connection could not be made.
    :ivar inputs: the machine that works on this.
    """

    courier: Courier
    buffer: Buffer
    pace: Pace
    clock: IReactorTime
    random: Random
    on_refused: Callable[[Failure], None]
    inputs: Inputs = field(init=False)
    phase: Phase = Phase.RESTING
    connection: Connection | None = None
    #: When the connection was made, and when something was last sent.
    made_at: float = 0.0
    sent_at: float = 0.0
    #: Before this the next connection may not be tried.
    connect_at: float = 0.0
    stopping: bool = False
    stopped: list[Deferred[None]] = field(factory=list)

    def enter(self, phase: Phase, wake_at: int = NEVER) -> None:
        self.phase = phase
        self.buffer.wake_at = wake_at

    def rest(self) -> None:
        self.enter(Phase.RESTING, wake_at=1)
        if self.stopping:
            self.inputs.stop()

    def send(self) -> None:
        """Have the connection send. A bug there costs the connection."""
        self.enter(Phase.SENDING)
        now = self.clock.seconds()
        self.pace.linger.sends(now, self.sent_at)
        self.sent_at = now
        assert self.connection is not None
        try:
            self.connection.send()
        except Exception:
            _log.failure("bug: a drain failed to send")
            self.abort()
            self.over(self.pace.connect_timeout_s)

    def drop_connection(self, end: Callable[[Connection], None]) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            end(connection)

    def close(self) -> None:
        self.drop_connection(lambda connection: connection.close())

    def abort(self) -> None:
        self.drop_connection(lambda connection: connection.abort())

    def finish(self) -> None:
        self.enter(Phase.STOPPED)
        waiting, self.stopped = self.stopped, []
        for waiter in waiting:
            waiter.callback(None)

    def until_idle(self) -> float:
        """How long the connection, which is not used now, may stay open."""
        now = self.clock.seconds()
        idle_s = self.pace.idle_s + self.random.uniform(0, self.pace.idle_jitter_s)
        return max(0.0, min(idle_s, self.made_at + self.pace.max_age_s - now))

    def finished(self, at_once: bool = False) -> None:
        """See :meth:`Reports.finished`."""
        if self.clock.seconds() - self.made_at >= self.pace.max_age_s:
            self.over()
        elif not self.buffer.messages:
            self.inputs.drained()
        elif at_once and self.phase is Phase.SENDING:
            self.send()
        else:
            self.inputs.advanced()

    def over(self, delay_s: float = 0.0) -> None:
        """See :meth:`Reports.over`."""
        self.close()
        self.connect_at = self.clock.seconds() + delay_s
        if not (self.courier.under_way or self.stopping):
            # Busy drains linger, also with a receiver that ends every connection.
            self.connect_at = max(self.connect_at, self.sent_at + self.pace.linger.seconds)
        if self.courier.under_way or self.buffer.messages:
            self.inputs.broken()
        else:
            self.inputs.parted()
