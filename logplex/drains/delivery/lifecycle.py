"""
The life of a drain that has a connection: one state machine for all kinds.

A drain connects when it has something to send, keeps the connection while it is used, and waits
between attempts. What differs between the kinds is their
:class:`~logplex.drains.delivery.courier.Courier`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import cache
from random import Random
from typing import Protocol

from attrs import define, field
from automat import TypeMachineBuilder
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from logplex.drains.delivery.buffer import NEVER, Buffer
from logplex.drains.delivery.courier import Courier, ReceiverConnection
from logplex.drains.delivery.pace import Pace

_log = Logger()


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
    connection: ReceiverConnection | None = None
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

    def drop_connection(self, end: Callable[[ReceiverConnection], None]) -> None:
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


_log = Logger()


def _wait(inputs: Inputs, life: Life) -> IDelayedCall:
    life.enter(Phase.WAITING)
    return life.clock.callLater(max(0.0, life.connect_at - life.clock.seconds()), inputs.due)


def _attempt(inputs: Inputs, life: Life) -> Deferred[None]:
    life.enter(Phase.CONNECTING)

    def made(connection: ReceiverConnection) -> None:
        if life.phase is not Phase.CONNECTING:
            connection.abort()
            return
        life.connection = connection
        life.made_at = life.clock.seconds()
        inputs.connected()

    def not_made(why: Failure) -> None:
        # An attempt that is given up may fail in any way: a name's lookup says "not found".
        if life.phase is not Phase.CONNECTING:
            return
        life.connect_at = life.clock.seconds() + life.courier.refused(why)
        inputs.refused()
        life.on_refused(why)

    attempt = life.courier.connect(life)
    attempt.addTimeout(life.pace.connect_timeout_s, life.clock)
    ended = attempt.addCallbacks(made, not_made)
    ended.addErrback(lambda bug: _log.failure("bug: a drain's connection", failure=bug))
    return ended


def _be_quiet(inputs: Inputs, life: Life) -> IDelayedCall:
    life.enter(Phase.QUIET, wake_at=1)
    if life.stopping:
        inputs.stop()
    return life.clock.callLater(life.until_idle(), inputs.due)


def _linger(inputs: Inputs, life: Life) -> IDelayedCall:
    # A small buffer must not overflow because its drain waits for the company that fills a batch.
    enough = min(life.pace.linger_messages, max(1, life.buffer.limit // 2))
    life.enter(Phase.LINGERING, wake_at=enough)
    wait_s = life.sent_at + life.pace.linger.seconds - life.clock.seconds()
    if life.stopping or len(life.buffer.messages) >= enough:
        wait_s = 0.0
    return life.clock.callLater(max(0.0, wait_s), inputs.due)


def _build() -> Callable[[Life], Inputs]:
    machine = TypeMachineBuilder(Inputs, Life)

    resting = machine.state("resting")
    waiting = machine.state("waiting", _wait)
    connecting = machine.state("connecting", _attempt)
    quiet = machine.state("quiet", _be_quiet)
    lingering = machine.state("lingering", _linger)
    sending = machine.state("sending")
    sending_last = machine.state("sending last")
    stopped = machine.state("stopped")

    # Without work.
    resting.upon(Inputs.offer).to(waiting).returns(None)

    @waiting.upon(Inputs.stop).loop()
    def hurry(inputs: Inputs, life: Life, timer: IDelayedCall) -> None:
        timer.reset(0)

    # On the way to a connection.
    waiting.upon(Inputs.due).to(connecting).returns(None)
    connecting.upon(Inputs.refused).to(waiting).returns(None)
    connecting.upon(Inputs.stop).loop().returns(None)

    @connecting.upon(Inputs.connected).to(sending)
    def begin(inputs: Inputs, life: Life, attempt: Deferred[None]) -> None:
        life.send()

    # With a connection.
    @quiet.upon(Inputs.offer).to(lingering)
    def resume(inputs: Inputs, life: Life, timer: IDelayedCall) -> None:
        timer.cancel()

    @quiet.upon(Inputs.due).to(resting)
    def close_unused(inputs: Inputs, life: Life, timer: IDelayedCall) -> None:
        life.close()
        life.rest()

    @quiet.upon(Inputs.parted).to(resting)
    def lost_unused(inputs: Inputs, life: Life, timer: IDelayedCall) -> None:
        timer.cancel()
        life.rest()

    @lingering.upon(Inputs.due).to(sending)
    def send(inputs: Inputs, life: Life, timer: IDelayedCall) -> None:
        life.send()

    @lingering.upon(Inputs.offer).to(sending)
    @lingering.upon(Inputs.stop).to(sending)
    def send_early(inputs: Inputs, life: Life, timer: IDelayedCall) -> None:
        timer.cancel()
        life.send()

    @lingering.upon(Inputs.broken).to(waiting)
    def lost_early(inputs: Inputs, life: Life, timer: IDelayedCall) -> None:
        timer.cancel()

    sending.upon(Inputs.drained).to(quiet).returns(None)
    sending.upon(Inputs.advanced).to(lingering).returns(None)
    sending.upon(Inputs.broken).to(waiting).returns(None)
    sending.upon(Inputs.stop).loop().returns(None)

    @sending.upon(Inputs.parted).to(resting)
    def rest(inputs: Inputs, life: Life) -> None:
        life.rest()

    # The end.
    @sending.upon(Inputs.retire).to(sending_last)
    def finish_sending(inputs: Inputs, life: Life) -> None:
        life.enter(Phase.RETIRING)

    sending_last.upon(Inputs.stop).loop().returns(None)
    sending_last.upon(Inputs.retire).loop().returns(None)

    @sending_last.upon(Inputs.drained).to(stopped)
    @sending_last.upon(Inputs.advanced).to(stopped)
    @sending_last.upon(Inputs.parted).to(stopped)
    @sending_last.upon(Inputs.broken).to(stopped)
    def end_sent(inputs: Inputs, life: Life) -> None:
        life.close()
        life.finish()

    @resting.upon(Inputs.stop).to(stopped)
    @resting.upon(Inputs.retire).to(stopped)
    @resting.upon(Inputs.abandon).to(stopped)
    def end_resting(inputs: Inputs, life: Life) -> None:
        life.finish()

    @waiting.upon(Inputs.retire).to(stopped)
    @waiting.upon(Inputs.abandon).to(stopped)
    def end_waiting(inputs: Inputs, life: Life, timer: IDelayedCall) -> None:
        timer.cancel()
        life.finish()

    @connecting.upon(Inputs.retire).to(stopped)
    @connecting.upon(Inputs.abandon).to(stopped)
    def end_connecting(inputs: Inputs, life: Life, attempt: Deferred[None]) -> None:
        life.enter(Phase.STOPPED)
        attempt.cancel()
        life.finish()

    @quiet.upon(Inputs.stop).to(stopped)
    @quiet.upon(Inputs.retire).to(stopped)
    @quiet.upon(Inputs.abandon).to(stopped)
    @lingering.upon(Inputs.retire).to(stopped)
    @lingering.upon(Inputs.abandon).to(stopped)
    def end_connected(inputs: Inputs, life: Life, timer: IDelayedCall) -> None:
        timer.cancel()
        life.close()
        life.finish()

    @sending.upon(Inputs.abandon).to(stopped)
    @sending_last.upon(Inputs.abandon).to(stopped)
    def end_sending(inputs: Inputs, life: Life) -> None:
        life.abort()
        life.finish()

    stopped.upon(Inputs.stop).loop().returns(None)
    stopped.upon(Inputs.retire).loop().returns(None)
    stopped.upon(Inputs.abandon).loop().returns(None)

    built = machine.build()
    # For every input automat searches all transitions, in the order of a set: 3 to 9 µs with this
    # machine's 42, and a batch takes three inputs. What it finds never changes, so it is kept. This
    # is automat's own affair: should another version have it elsewhere, drains are only slower.
    automaton = getattr(built, "__automat_automaton__", None)
    if automaton is not None:
        automaton.outputForInput = cache(automaton.outputForInput)
    return built


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
        self._life = Life(courier, buffer, pace, clock, random, on_refused)
        self._life.inputs = self._inputs = _machine(self._life)

    # What the service asks.

    @property
    def phase(self) -> Phase:
        return self._life.phase

    @property
    def next_attempt(self) -> float | None:
        """When the next connection will be tried, in seconds since the epoch, if it is known."""
        return self._life.connect_at if self.phase is Phase.WAITING else None

    def start(self) -> None:
        """Follow the buffer from now on."""
        self._life.buffer.wake = self._inputs.offer
        self._life.rest()
        if self._life.buffer.messages:
            self._inputs.offer()

    def stop(self, within_s: float) -> Deferred[None]:
        """
        Send what there is, then stop; after so many seconds stop anyway. What was not sent is in
        the buffer when the Deferred fires.
        """
        self._life.stopping = True
        ended = self._when_stopped()
        limit = self._life.clock.callLater(within_s, self._inputs.abandon)
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
        self._life.stopped.append(ended)
        return ended.addCallback(lambda _: self._life.courier.recall())
