# SPDX-License-Identifier: Apache-2.0

"""
The lifecycle of a drain: one state machine for all kinds of drains.

A drain connects when it has something to send, keeps the connection while it is used, and waits
between attempts. Each state is a class with the data that exists only in that state.
``docs/drains.md`` draws the machine. Each kind of drain has its own
:class:`~logplex.drains.delivery.courier.Courier`.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from logplex.clock import wall_s
from logplex.drains.delivery.buffer import NEVER
from logplex.drains.delivery.courier import (
    Courier,
    Postponed,
    ReceiverAway,
    ReceiverConnection,
    Reports,
    Supply,
)
from logplex.drains.delivery.pace import Pace
from logplex.drains.delivery.states import (
    Connected,
    Connecting,
    Lingering,
    Open,
    Phase,
    Resting,
    Retiring,
    Sending,
    State,
    Stopped,
    Waiting,
)

_log = Logger()

#: Makes a courier that gives its results to these reports, and the times of its kind.
MakeCourier = Callable[[Reports], tuple[Courier[Any], Pace]]


@define(eq=False, repr=False)
class _Stop:
    """
    A request to stop the drain.

    :ivar limit: the timer that stops the drain even if unsent messages are left.
    :ivar stopped: fires with the number of unsent messages that were left.
    """

    limit: IDelayedCall
    stopped: Deferred[int] = field(factory=Deferred)


class Lifecycle:
    """
    The lifecycle of one drain, from its first message to its stop.

    Implements :class:`~logplex.drains.delivery.courier.Reports` for its couriers. The owner of the
    buffer calls :meth:`offer` from :attr:`Buffer.wake`; the lifecycle sets :attr:`Buffer.wake_at`.

    :param make_courier: called now, and after each :meth:`move`.
    :param on_refused: called with the reason when no connection could be made.
    """

    def __init__(
        self,
        make_courier: MakeCourier,
        buffer: Supply,
        clock: IReactorTime,
        random: Random,
        on_refused: Callable[[Failure], None] = lambda why: None,
    ) -> None:
        self._make_courier = make_courier
        self._buffer = buffer
        self._clock = clock
        self._random = random
        self._on_refused = on_refused
        self._courier, self._pace = make_courier(self)
        #: The time at which something was sent last, over any connection.
        self._sent_at = 0.0
        self._stop: _Stop | None = None
        self._state: State
        self._enter(Resting(), wake_at=1)

    @property
    def phase(self) -> Phase:
        return self._state.phase

    @property
    def next_attempt(self) -> float | None:
        """
        The time of the drain's next attempt to connect, in seconds since the epoch; ``None`` unless
        the drain waits for an attempt.
        """
        if not isinstance(self._state, Waiting):
            return None
        return self._state.until + (wall_s(self._clock) - self._clock.seconds())

    # Events from the owner of the drain.

    def offer(self) -> None:
        """React to a buffer that now holds enough messages to wake the drain."""
        state = self._state
        if isinstance(state, Connected):
            state.timer.cancel()
            self._linger(state.open)
        elif isinstance(state, Lingering):
            state.timer.cancel()
            self._send(state.open)
        elif isinstance(state, Resting):
            self._wait(state.not_before)

    def move(self) -> None:
        """
        Replace the courier, because the drain has another receiver.

        The old courier finishes the messages that it is sending. The new courier gets all other
        messages.
        """
        state = self._state
        if isinstance(state, Sending):
            self._enter(Retiring(state.open))
        elif not isinstance(state, Retiring | Stopped):
            self._leave(state)
            self._replace_courier()

    def stop(self, within_s: float) -> Deferred[int]:
        """
        Send the messages of the buffer, then stop. Stop in any case after some seconds.

        :return: fires with the number of messages that were not sent. The buffer no longer holds
            these messages.
        :param within_s: the number of seconds.
        """
        self._stop = stop = _Stop(self._clock.callLater(within_s, self._abandon))
        state = self._state
        if isinstance(state, Lingering):
            state.timer.cancel()
            self._send(state.open)
        elif isinstance(state, Waiting):
            state.timer.reset(0)
        elif isinstance(state, Resting | Connected):
            self._leave(state)
            self._finish(stop)
        return stop.stopped

    # Events from the courier: see :class:`Reports`.

    def finished(self, at_once: bool = False) -> None:
        """See :meth:`Reports.finished`."""
        state = self._state
        if isinstance(state, Retiring):
            state.open.connection.close()
            self._replace_courier()
        elif isinstance(state, Sending):
            if self._clock.seconds() - state.open.made_at >= self._pace.max_age_s:
                self.over()
            elif not (self._buffer.messages or self._courier.under_way):
                self._be_connected(state.open)
            elif at_once:
                self._send(state.open)
            else:
                self._linger(state.open)

    def over(self, delay_s: float = 0.0) -> None:
        """See :meth:`Reports.over`."""
        state = self._state
        if isinstance(state, Retiring):
            state.open.connection.close()
            self._replace_courier()
        elif isinstance(state, Sending | Lingering | Connected):
            self._leave(state)
            not_before = self._clock.seconds() + delay_s
            if not (self._courier.under_way or self._stop):
                # Busy drains linger even if the receiver ends every connection.
                not_before = max(not_before, self._sent_at + self._pace.linger.seconds)
            self._begin_again(not_before)

    def reachable(self, delay_s: float) -> None:
        """See :meth:`Reports.reachable`."""
        state = self._state
        if isinstance(state, Waiting) and state.parked:
            state.timer.cancel()
            self._wait(self._clock.seconds() + delay_s)

    # Events from timers and attempts.

    def _due(self) -> None:
        state = self._state
        if isinstance(state, Lingering):
            self._send(state.open)
        elif isinstance(state, Waiting):
            self._connect()
        elif isinstance(state, Connected):
            state.open.connection.close()
            self._rest(0.0)

    def _made(self, connection: ReceiverConnection, connecting: Connecting) -> None:
        if self._state is connecting:
            self._send(Open(connection, self._clock.seconds()))
        else:
            connection.abort()

    def _not_made(self, why: Failure, connecting: Connecting) -> None:
        # An attempt that was given up may fail in any way: a lookup says "not found".
        if self._state is not connecting:
            return
        now, reason = self._clock.seconds(), why.value
        if isinstance(reason, Postponed):
            self._wait(now + reason.delay_s, parked=True)
            return
        if isinstance(reason, ReceiverAway):
            why = reason.cause
            wait_s = max(reason.delay_s, self._courier.refused(why))
            self._wait(now + wait_s, parked=True)
        else:
            self._wait(now + self._courier.refused(why))
        self._on_refused(why)

    def _abandon(self) -> None:
        state = self._state
        if isinstance(state, Sending | Retiring):
            state.open.connection.abort()
        else:
            self._leave(state)
        if self._stop:
            self._finish(self._stop)

    # States and how they are entered.

    def _enter(self, state: State, wake_at: int = NEVER) -> None:
        self._state = state
        self._buffer.wake_at = wake_at

    def _leave(self, state: State) -> None:
        """Leave a state: close its connection, and stop its timers."""
        if isinstance(state, Waiting | Connected | Lingering):
            state.timer.cancel()
        if isinstance(state, Connected | Lingering | Sending):
            state.open.connection.close()
        if isinstance(state, Connecting):
            self._enter(Resting())
            state.attempt.cancel()

    def _rest(self, not_before: float) -> None:
        self._enter(Resting(not_before), wake_at=1)
        if self._stop:
            self._finish(self._stop)

    def _begin_again(self, not_before: float) -> None:
        """
        Prepare a new connection if there are messages to send.

        :param not_before: the earliest time of the connection.
        """
        if self._courier.under_way or self._buffer.messages:
            self._wait(not_before)
        else:
            self._rest(not_before)

    def _wait(self, until: float, parked: bool = False) -> None:
        wait_s = max(0.0, until - self._clock.seconds())
        self._enter(Waiting(self._clock.callLater(wait_s, self._due), until, parked))

    def _connect(self) -> None:
        attempt = self._courier.connect()
        connecting = Connecting(attempt)
        self._enter(connecting)
        attempt.addTimeout(self._pace.connect_timeout_s, self._clock)
        attempt.addCallbacks(
            self._made, self._not_made, callbackArgs=(connecting,), errbackArgs=(connecting,)
        )
        attempt.addErrback(lambda bug: _log.failure("bug: a drain's connection", failure=bug))

    def _send(self, open: Open) -> None:
        """Let the courier send messages. If the courier raises an error, end the connection."""
        sending = Sending(open)
        self._enter(sending)
        now = self._clock.seconds()
        self._pace.linger.sends(now, self._sent_at)
        self._sent_at = now
        try:
            self._courier.send(open.connection)
        except Exception:
            _log.failure("bug: a drain failed to send")
            open.connection.abort()
            self.over(self._pace.connect_timeout_s)

    def _linger(self, open: Open) -> None:
        # A small buffer must not overflow because its drain waits for a full batch.
        enough = min(self._pace.linger_messages, max(1, self._buffer.limit // 2))
        wait_s = self._sent_at + self._pace.linger.seconds - self._clock.seconds()
        if wait_s < 0 or self._stop or len(self._buffer.messages) >= enough:
            wait_s = 0.0
        self._enter(Lingering(open, self._clock.callLater(wait_s, self._due)), wake_at=enough)

    def _be_connected(self, open: Open) -> None:
        if self._stop:
            open.connection.close()
            self._finish(self._stop)
            return
        pace = self._pace
        idle_s = pace.idle_s + self._random.uniform(0, pace.idle_jitter_s)
        left_s = open.made_at + pace.max_age_s - self._clock.seconds()
        timer = self._clock.callLater(max(0.0, min(idle_s, left_s)), self._due)
        self._enter(Connected(open, timer), wake_at=1)

    def _replace_courier(self) -> None:
        self._courier.recall()
        self._courier, self._pace = self._make_courier(self)
        self._sent_at = 0.0
        self._begin_again(0.0)

    def _finish(self, stop: _Stop) -> None:
        self._enter(Stopped())
        self._courier.recall()
        if stop.limit.active():
            stop.limit.cancel()
        stop.stopped.callback(self._buffer.clear())
