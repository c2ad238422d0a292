# SPDX-License-Identifier: Apache-2.0

"""
The times of drains: the pause between the batches of a busy drain, and the backoff of a failing
drain.
"""

from __future__ import annotations

from random import Random

from attrs import define, field, frozen
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from logplex.clock import wall_s
from logplex.drains.delivery.courier import Outcome
from logplex.settings import DrainSettings

#: The batches that all busy drains of a node may send in a second before each waits longer.
#: A request costs 80 µs or more, however little it carries: these take a twentieth of a core.
BATCHES_PER_S = 500

#: After failure k in a row the next connection is tried in about 2^k s.
_BASE_S = 2.0
_JITTER = 0.25
#: A connection that is still open this long after a write has proved good.
STEADY_AFTER_S = 1.0


@define(eq=False, repr=False)
class Linger:
    """
    The time between two batches of a busy drain.

    The time is the same for all drains of a node, and grows with the number of busy drains. A drain
    is busy if it has sent a message in the last two to four times ``most_s``.

    :ivar least_s: the time if few drains are busy.
    :ivar most_s: the time if very many are busy.
    """

    least_s: float
    most_s: float
    _began_at: float = field(default=0.0, init=False)
    _busy: int = field(default=0, init=False)
    _busy_before: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.most_s = max(self.least_s, self.most_s)

    @property
    def seconds(self) -> float:
        """The present time between two batches of a busy drain, in seconds."""
        busy = max(self._busy, self._busy_before)
        return min(self.most_s, max(self.least_s, busy / BATCHES_PER_S))

    def sends(self, now: float, last_sent_at: float) -> None:
        """
        Count a drain as busy, because the drain sends messages now.

        :param last_sent_at: the time at which the drain last sent messages.
        """
        window_s = 2 * self.most_s
        age_s = now - self._began_at
        if not 0 <= age_s < window_s:  # A clock may be set back.
            self._busy_before = self._busy if 0 <= age_s < 2 * window_s else 0
            self._busy = 0
            self._began_at = now
        if last_sent_at < self._began_at:
            self._busy += 1


@define(eq=False, repr=False)
class Backoff:
    """
    The number of consecutive failures of a syslog drain, and the waiting time after each failure
    (PROTOCOL §9).
    """

    settings: DrainSettings
    outcome: Outcome
    clock: IReactorTime
    random: Random
    _failures: int = field(default=0, init=False)
    _steady: IDelayedCall | None = field(default=None, init=False)

    def wrote(self) -> None:
        """Record a success: the kernel has accepted data for the receiver."""
        self.outcome.succeeded(wall_s(self.clock))
        if self._failures and self._steady is None:
            self._steady = self.clock.callLater(STEADY_AFTER_S, self._forgive)

    def failed(self, why: str, notice: bool = True) -> float:
        """
        Record a failure: no connection could be made, or the receiver has ended the connection.

        :param notice: see :meth:`Outcome.failed`.
        :return: the seconds until the drain may connect again.
        """
        self.stop()
        self._failures += 1
        self.outcome.failed(wall_s(self.clock), why, notice=notice)
        wait_s = _BASE_S ** min(self._failures, 32)
        wait_s *= self.random.uniform(1 - _JITTER, 1 + _JITTER)
        return min(self.settings.syslog_backoff_max_s, wait_s)

    def unfit(self, why: str) -> None:
        """Record that a message cannot be sent over any connection."""
        self.outcome.noted(wall_s(self.clock), why)

    def stop(self) -> None:
        """Stop waiting for the connection to prove steady, because the connection has ended."""
        steady, self._steady = self._steady, None
        if steady is not None:
            steady.cancel()

    def _forgive(self) -> None:
        self._steady = None
        self._failures = 0


@frozen
class Pace:
    """
    The times that drains of one kind keep, in seconds.

    :ivar linger: the time between two batches of a busy drain.
    :ivar linger_messages: the number of waiting messages that are sent at once, without a wait for
        more.
    :ivar idle_s: the time after which an unused connection is closed. A random time up to
        ``idle_jitter_s`` is added.
    :ivar max_age_s: the longest life of a connection.
    """

    connect_timeout_s: float
    linger: Linger
    linger_messages: int
    idle_s: float
    idle_jitter_s: float
    max_age_s: float
