"""
The life of a drain that has a connection: one state machine for all kinds.

A drain connects when it has something to send, keeps the connection while it is used, and waits
between attempts. What differs between the kinds is their :class:`~logplex.drains.courier.Courier`.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Protocol

from attrs import define, field
from automat import TypeMachineBuilder
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from logplex.drains.buffer import NEVER, Buffer
from logplex.drains.courier import Connection, Courier, Pace, Phase

_log = Logger()


class _Inputs(Protocol):
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
class _Core:
    """What the machine works on."""

    courier: Courier
    buffer: Buffer
    pace: Pace
    clock: IReactorTime
    random: Random
    on_refused: Callable[[Failure], None]
    lifecycle: Lifecycle
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

    def rest(self, inputs: _Inputs) -> None:
        self.enter(Phase.RESTING, wake_at=1)
        if self.stopping:
            inputs.stop()

    def send(self, inputs: _Inputs) -> None:
        self.enter(Phase.SENDING)
        self.sent_at = self.clock.seconds()
        self.lifecycle.send()

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


def _wait(inputs: _Inputs, core: _Core) -> IDelayedCall:
    core.enter(Phase.WAITING)
    return core.clock.callLater(max(0.0, core.connect_at - core.clock.seconds()), inputs.due)


def _attempt(inputs: _Inputs, core: _Core) -> Deferred[None]:
    core.enter(Phase.CONNECTING)

    def made(connection: Connection) -> None:
        core.connection = connection
        core.made_at = core.clock.seconds()
        inputs.connected()

    def not_made(why: Failure) -> None:
        if isinstance(why.value, CancelledError):
            return
        core.connect_at = core.clock.seconds() + core.courier.refused(why)
        inputs.refused()
        core.on_refused(why)

    attempt = core.courier.connect(core.lifecycle)
    attempt.addTimeout(core.pace.connect_timeout_s, core.clock)
    ended = attempt.addCallbacks(made, not_made)
    ended.addErrback(lambda bug: _log.failure("bug: a drain's connection", failure=bug))
    return ended


def _be_quiet(inputs: _Inputs, core: _Core) -> IDelayedCall:
    core.enter(Phase.QUIET, wake_at=1)
    if core.stopping:
        inputs.stop()
    return core.clock.callLater(core.until_idle(), inputs.due)


def _linger(inputs: _Inputs, core: _Core) -> IDelayedCall:
    enough = core.pace.linger_messages
    core.enter(Phase.LINGERING, wake_at=enough)
    wait_s = core.sent_at + core.pace.linger_s - core.clock.seconds()
    if core.stopping or len(core.buffer.messages) >= enough:
        wait_s = 0.0
    return core.clock.callLater(max(0.0, wait_s), inputs.due)


def _build() -> Callable[[_Core], _Inputs]:
    machine = TypeMachineBuilder(_Inputs, _Core)

    resting = machine.state("resting")
    waiting = machine.state("waiting", _wait)
    connecting = machine.state("connecting", _attempt)
    quiet = machine.state("quiet", _be_quiet)
    lingering = machine.state("lingering", _linger)
    sending = machine.state("sending")
    sending_last = machine.state("sending last")
    stopped = machine.state("stopped")

    # Without work.
    resting.upon(_Inputs.offer).to(waiting).returns(None)

    @waiting.upon(_Inputs.stop).loop()
    def hurry(inputs: _Inputs, core: _Core, timer: IDelayedCall) -> None:
        timer.reset(0)

    # On the way to a connection.
    waiting.upon(_Inputs.due).to(connecting).returns(None)
    connecting.upon(_Inputs.refused).to(waiting).returns(None)
    connecting.upon(_Inputs.stop).loop().returns(None)

    @connecting.upon(_Inputs.connected).to(sending)
    def begin(inputs: _Inputs, core: _Core, attempt: Deferred[None]) -> None:
        core.send(inputs)

    # With a connection.
    @quiet.upon(_Inputs.offer).to(lingering)
    def resume(inputs: _Inputs, core: _Core, timer: IDelayedCall) -> None:
        timer.cancel()

    @quiet.upon(_Inputs.due).to(resting)
    def close_unused(inputs: _Inputs, core: _Core, timer: IDelayedCall) -> None:
        core.close()
        core.rest(inputs)

    @quiet.upon(_Inputs.parted).to(resting)
    def lost_unused(inputs: _Inputs, core: _Core, timer: IDelayedCall) -> None:
        timer.cancel()
        core.rest(inputs)

    @lingering.upon(_Inputs.due).to(sending)
    def send(inputs: _Inputs, core: _Core, timer: IDelayedCall) -> None:
        core.send(inputs)

    @lingering.upon(_Inputs.offer).to(sending)
    @lingering.upon(_Inputs.stop).to(sending)
    def send_early(inputs: _Inputs, core: _Core, timer: IDelayedCall) -> None:
        timer.cancel()
        core.send(inputs)

    @lingering.upon(_Inputs.broken).to(waiting)
    def lost_early(inputs: _Inputs, core: _Core, timer: IDelayedCall) -> None:
        timer.cancel()

    sending.upon(_Inputs.drained).to(quiet).returns(None)
    sending.upon(_Inputs.advanced).to(lingering).returns(None)
    sending.upon(_Inputs.broken).to(waiting).returns(None)
    sending.upon(_Inputs.stop).loop().returns(None)

    @sending.upon(_Inputs.parted).to(resting)
    def rest(inputs: _Inputs, core: _Core) -> None:
        core.rest(inputs)

    # The end.
    @sending.upon(_Inputs.retire).to(sending_last)
    def finish_sending(inputs: _Inputs, core: _Core) -> None:
        core.enter(Phase.RETIRING)

    sending_last.upon(_Inputs.stop).loop().returns(None)
    sending_last.upon(_Inputs.retire).loop().returns(None)

    @sending_last.upon(_Inputs.drained).to(stopped)
    @sending_last.upon(_Inputs.advanced).to(stopped)
    @sending_last.upon(_Inputs.parted).to(stopped)
    @sending_last.upon(_Inputs.broken).to(stopped)
    def end_sent(inputs: _Inputs, core: _Core) -> None:
        core.close()
        core.finish()

    @resting.upon(_Inputs.stop).to(stopped)
    @resting.upon(_Inputs.retire).to(stopped)
    @resting.upon(_Inputs.abandon).to(stopped)
    def end_resting(inputs: _Inputs, core: _Core) -> None:
        core.finish()

    @waiting.upon(_Inputs.retire).to(stopped)
    @waiting.upon(_Inputs.abandon).to(stopped)
    def end_waiting(inputs: _Inputs, core: _Core, timer: IDelayedCall) -> None:
        timer.cancel()
        core.finish()

    @connecting.upon(_Inputs.retire).to(stopped)
    @connecting.upon(_Inputs.abandon).to(stopped)
    def end_connecting(inputs: _Inputs, core: _Core, attempt: Deferred[None]) -> None:
        attempt.cancel()
        core.finish()

    @quiet.upon(_Inputs.stop).to(stopped)
    @quiet.upon(_Inputs.retire).to(stopped)
    @quiet.upon(_Inputs.abandon).to(stopped)
    @lingering.upon(_Inputs.retire).to(stopped)
    @lingering.upon(_Inputs.abandon).to(stopped)
    def end_connected(inputs: _Inputs, core: _Core, timer: IDelayedCall) -> None:
        timer.cancel()
        core.close()
        core.finish()

    @sending.upon(_Inputs.abandon).to(stopped)
    @sending_last.upon(_Inputs.abandon).to(stopped)
    def end_sending(inputs: _Inputs, core: _Core) -> None:
        core.abort()
        core.finish()

    stopped.upon(_Inputs.stop).loop().returns(None)
    stopped.upon(_Inputs.retire).loop().returns(None)
    stopped.upon(_Inputs.abandon).loop().returns(None)

    return machine.build()


_machine = _build()


class Lifecycle:
    """
    One drain's life, from its first message to its stop.

    :param on_refused: told why a connection could not be made.
    """

    def __init__(
        self,
        courier: Courier,
        buffer: Buffer,
        pace: Pace,
        clock: IReactorTime,
        random: Random,
        on_refused: Callable[[Failure], None] = lambda why: None,
    ) -> None:
        self._core = _Core(courier, buffer, pace, clock, random, on_refused, self)
        self._inputs = _machine(self._core)

    # What the service asks.

    @property
    def phase(self) -> Phase:
        return self._core.phase

    @property
    def next_attempt(self) -> float | None:
        """When the next connection will be tried, in seconds since the epoch, if it is known."""
        return self._core.connect_at if self.phase is Phase.WAITING else None

    def start(self) -> None:
        """Follow the buffer from now on."""
        self._core.buffer.wake = self._inputs.offer
        self._core.rest(self._inputs)
        if self._core.buffer.messages:
            self._inputs.offer()

    def stop(self, within_s: float) -> Deferred[None]:
        """
        Send what there is, then stop; after so many seconds stop anyway. What was not sent is in
        the buffer when the Deferred fires.
        """
        self._core.stopping = True
        ended = self._when_stopped()
        limit = self._core.clock.callLater(within_s, self._inputs.abandon)
        self._inputs.stop()

        def forget_limit(_: None) -> None:
            if limit.active():
                limit.cancel()

        return ended.addCallback(forget_limit)

    def retire(self) -> Deferred[None]:
        """
        Stop, with at most what is being sent right now. What was not sent is in the buffer when
        the Deferred fires.
        """
        ended = self._when_stopped()
        self._inputs.retire()
        return ended

    def _when_stopped(self) -> Deferred[None]:
        if self.phase is Phase.STOPPED:
            return succeed(None)
        ended: Deferred[None] = Deferred()
        self._core.stopped.append(ended)
        return ended.addCallback(lambda _: self._core.courier.recall())

    # What couriers and their connections report.

    def send(self) -> None:
        """Have the connection send. A bug there costs the connection."""
        core = self._core
        assert core.connection is not None
        try:
            core.connection.send()
        except Exception:
            _log.failure("bug: a drain failed to send")
            core.abort()
            self.over(core.pace.connect_timeout_s)

    def finished(self, at_once: bool = False) -> None:
        """See :meth:`Reports.finished`."""
        core = self._core
        waiting = bool(core.buffer.messages)
        if core.clock.seconds() - core.made_at >= core.pace.max_age_s:
            self.over()
        elif not waiting:
            self._inputs.drained()
        elif at_once and core.phase is Phase.SENDING:
            core.sent_at = core.clock.seconds()
            self.send()
        else:
            self._inputs.advanced()

    def over(self, delay_s: float = 0.0) -> None:
        """See :meth:`Reports.over`."""
        core = self._core
        core.close()
        core.connect_at = core.clock.seconds() + delay_s
        if not (core.courier.under_way or core.stopping):
            # Busy drains send every linger_s, also to a receiver that ends every connection.
            core.connect_at = max(core.connect_at, core.sent_at + core.pace.linger_s)
        if core.courier.under_way or core.buffer.messages:
            self._inputs.broken()
        else:
            self._inputs.parted()
