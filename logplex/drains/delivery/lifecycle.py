"""
The life of a drain that has a connection: one state machine for all kinds.

A drain connects when it has something to send, keeps the connection while it is used, and waits
between attempts. What differs between the kinds is their
:class:`~logplex.drains.delivery.courier.Courier`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random

from automat import TypeMachineBuilder
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from logplex.drains.delivery.buffer import Buffer
from logplex.drains.delivery.courier import Connection, Courier, Pace, Phase
from logplex.drains.delivery.life import Inputs, Life

_log = Logger()


def _wait(inputs: Inputs, life: Life) -> IDelayedCall:
    life.enter(Phase.WAITING)
    return life.clock.callLater(max(0.0, life.connect_at - life.clock.seconds()), inputs.due)


def _attempt(inputs: Inputs, life: Life) -> Deferred[None]:
    life.enter(Phase.CONNECTING)

    def made(connection: Connection) -> None:
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
