# SPDX-License-Identifier: Apache-2.0

"""
The attempts of all drains to connect. They have one limit for the node, and one verdict for each
receiver.

Thousands of drains may share a receiver. While the receiver is away, one drain at a time tries to
connect: the one that failed last, so that a drain without company goes on at its own pace. The
other drains wait, and are told when an attempt succeeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from random import Random
from weakref import WeakSet, ref

from attrs import define, field
from prometheus_client.core import CounterMetricFamily
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, fail
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from logplex.drains.delivery.courier import Postponed, ReceiverAway, Reports
from logplex.drains.kinds.stream import StreamConnection
from logplex.drains.network.errors import DestinationDenied
from logplex.metrics import Sample

_log = Logger()

#: The most attempts at a time at a receiver that has not been reached yet.
_TRIED_AT_ONCE = 8
#: The attempts that may be made in one moment after a quiet time, in seconds of the bound.
_BURST_S = 0.1
#: The wait until a receiver that is away is tried again grows from the third failure in a row on.
_FREE_FAILURES = 2
_FIRST_WAIT_S = 0.01
_MOST_WAIT_S = 1.0
#: After this many failures a receiver is away for longer. Drains then wait these times, unless they
#: are told before that it is there.
_AWAY_FAILURES = 5
_LEAST_PARKED_S = 10.0
_MOST_PARKED_S = 30.0
#: The most receivers that are remembered.
_MAX_RECEIVERS = 20_000
#: The shortest time between two lines of the log about the bound.
_LOG_INTERVAL_S = 60.0


#: A receiver: host, port, and how its certificate is verified, for one verdict about all of it.
Key = tuple[str, int, str]


@define(eq=False, repr=False)
class _Receiver:
    """
    The state of one receiver: a host and a port, with TLS or without.

    :ivar there: true if the last attempt to connect succeeded.
    :ivar reached_at: the time of the last successful attempt.
    :ivar trying: the number of attempts that are under way.
    :ivar failures: the number of consecutive failures of all drains together.
    :ivar until: the earliest time of the next attempt to connect.
    :ivar cause: the failure of the last attempt.
    :ivar scout: the drain whose attempt that was; it tries again.
    :ivar parked: the drains that wait until the receiver is back.
    """

    there: bool = False
    reached_at: float = 0.0
    trying: int = 0
    failures: int = 0
    until: float = 0.0
    cause: Failure | None = None
    scout: ref[Reports] | None = None
    parked: WeakSet[Reports] | None = None

    def park(self, drain: Reports) -> None:
        if self.parked is None:
            self.parked = WeakSet()
        self.parked.add(drain)


@define(eq=False, repr=False)
class Attempts:
    """
    The attempts of all drains of a node to connect to receivers.

    :ivar per_s: the maximum number of attempts in a second.
    :ivar timeout_s: the longest duration of an attempt.
    :ivar postponed: the number of attempts that had to wait because of ``per_s``.
    """

    per_s: float
    timeout_s: float
    clock: IReactorTime
    random: Random
    postponed: int = field(default=0, init=False)
    _receivers: dict[Key, _Receiver] = field(factory=dict, init=False)
    #: The next free turn.
    _turn_at: float = field(default=-inf, init=False)
    _logged_at: float = field(default=0.0, init=False)

    def endpoint(
        self, endpoint: IStreamClientEndpoint, key: Key, drain: Reports
    ) -> IStreamClientEndpoint:
        """
        Return an endpoint through which one drain connects to a receiver, within the limits of the
        node.
        """
        bounded: IStreamClientEndpoint = _BoundedEndpoint(self, endpoint, key, drain)
        return bounded

    def samples(self) -> Iterator[Sample]:
        """Yield the number of attempts to connect that had to wait, for metrics."""
        yield Sample(
            "logplex_drains_postponed_connects",
            "Attempts to connect that had to wait for the bound of all drains",
            self.postponed,
            {},
            CounterMetricFamily,
        )

    def receiver(self, key: Key) -> _Receiver:
        """Return the known state of a receiver."""
        receiver = self._receivers.get(key)
        if receiver is None:
            if len(self._receivers) >= _MAX_RECEIVERS:
                known = self._receivers.items()
                self._receivers = {key: each for key, each in known if each.trying}
            receiver = self._receivers[key] = _Receiver()
        return receiver

    def judge(self, receiver: _Receiver, drain: Reports) -> Exception | None:
        """
        Return the reason why a drain must not connect to the receiver now; ``None`` if the drain
        may connect.
        """
        now = self.clock.seconds()
        if receiver.there:
            return None
        if receiver.cause is not None and (now < receiver.until or receiver.trying):
            receiver.park(drain)
            wait_s = max(0.0, receiver.until - now)
            if receiver.scout is not None and receiver.scout() is drain and not receiver.trying:
                return Postponed(wait_s)
            if receiver.failures >= _AWAY_FAILURES:
                wait_s = self.random.uniform(_LEAST_PARKED_S, _MOST_PARKED_S)
            elif receiver.trying:
                wait_s += self.timeout_s * self.random.uniform(0.1, 1)
            return ReceiverAway(receiver.cause, wait_s)
        if receiver.trying >= _TRIED_AT_ONCE:
            receiver.park(drain)
            return Postponed(self.timeout_s * self.random.uniform(1, 2))
        return None

    def take_turn(self) -> float:
        """
        Reserve the next free time for an attempt to connect. Return the seconds until that time; 0
        if the attempt may begin now.
        """
        now = self.clock.seconds()
        self._turn_at = max(self._turn_at, now - _BURST_S) + 1 / self.per_s
        wait_s = self._turn_at - now
        if wait_s <= 1 / self.per_s:
            return 0.0
        self.postponed += 1
        if now - self._logged_at >= _LOG_INTERVAL_S:
            self._logged_at = now
            _log.warn(
                "drains want to make more connections than [drains] connects_per_s = {bound:g};"
                " {count} attempts have waited since the start",
                bound=self.per_s,
                count=self.postponed,
            )
        return wait_s

    def succeeded(self, receiver: _Receiver) -> None:
        """
        Record that a drain has connected to the receiver. Tell the drains that wait for the
        receiver.
        """
        receiver.trying -= 1
        receiver.there = True
        receiver.reached_at = self.clock.seconds()
        receiver.failures = 0
        receiver.cause = receiver.scout = None
        parked, receiver.parked = receiver.parked, None
        for number, drain in enumerate(parked or ()):
            drain.reachable(number / self.per_s)

    def failed(self, receiver: _Receiver, why: Failure, began_at: float, drain: Reports) -> None:
        """Record that a drain's attempt to connect has failed, or was cancelled."""
        receiver.trying -= 1
        now = self.clock.seconds()
        if why.check(CancelledError, ConnectingCancelledError):
            if now - began_at < self.timeout_s:
                return
            why = Failure(TimeoutError(self.timeout_s, "Deferred"))
        if (
            why.check(DestinationDenied)
            or began_at < receiver.reached_at
            or began_at < receiver.until
        ):
            return
        receiver.there = False
        receiver.failures += 1
        receiver.cause = why
        receiver.scout = ref(drain)
        why.cleanFailure()
        receiver.until = now
        if receiver.failures > _FREE_FAILURES:
            wait_s = min(_MOST_WAIT_S, _FIRST_WAIT_S * 2 ** min(receiver.failures, 32))
            receiver.until += wait_s * self.random.uniform(0.75, 1)


@implementer(IStreamClientEndpoint)
@define(eq=False, repr=False)
class _BoundedEndpoint:
    """
    An endpoint for one drain that keeps the node's limit on attempts to connect.

    :ivar turn_at: the reserved time of the drain's next attempt; ``None`` if no unused time is
        reserved.
    """

    attempts: Attempts
    endpoint: IStreamClientEndpoint
    key: Key
    drain: Reports
    turn_at: float | None = None

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        See :class:`IStreamClientEndpoint`. The result fails at once with :class:`ReceiverAway` or
        :class:`Postponed` if the drain may not connect now.
        """
        attempts = self.attempts
        receiver = attempts.receiver(self.key)
        forbidden = attempts.judge(receiver, self.drain)
        if forbidden is not None:
            return fail(forbidden)
        now = attempts.clock.seconds()
        if self.turn_at is None:
            wait_s = attempts.take_turn()
            if wait_s > 0:
                self.turn_at = now + wait_s
                return fail(Postponed(wait_s))
        elif now < self.turn_at:
            return fail(Postponed(self.turn_at - now))
        self.turn_at = None
        receiver.trying += 1

        def made(protocol: IProtocol) -> IProtocol:
            secured = protocol.secured if isinstance(protocol, StreamConnection) else None
            if secured is None:
                attempts.succeeded(receiver)
            else:
                secured.addCallbacks(lambda _: attempts.succeeded(receiver), not_made)
            return protocol

        def not_made(why: Failure) -> Failure:
            attempts.failed(receiver, why, now, self.drain)
            return why

        return self.endpoint.connect(protocolFactory).addCallbacks(made, not_made)
