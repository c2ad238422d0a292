# SPDX-License-Identifier: Apache-2.0

"""
The times of drains: the linger of busy ones, and the backoff of failing ones.
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
    The time between two batches of a busy drain. It is the same for all drains of a node, and grows
    with the number of busy drains.

    A drain is busy if it has sent something in the last two to four times ``most_s``.

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
        """The time from one batch of a drain to its next."""
        busy = max(self._busy, self._busy_before)
        return min(self.most_s, max(self.least_s, busy / BATCHES_PER_S))

    def sends(self, now: float, last_sent_at: float) -> None:
        """Count a drain that sends something, not for the first time."""
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
    """The failures of a syslog drain in a row, and the waits after them (PROTOCOL §9)."""

    settings: DrainSettings
    outcome: Outcome
    clock: IReactorTime
    random: Random
    _failures: int = field(default=0, init=False)
    _steady: IDelayedCall | None = field(default=None, init=False)

    def wrote(self) -> None:
        """Note that the kernel accepted a write."""
        self.outcome.succeeded(wall_s(self.clock))
        if self._failures and self._steady is None:
            self._steady = self.clock.callLater(STEADY_AFTER_S, self._forgive)

    def failed(self, why: str, notice: bool = True) -> float:
        """
        Note that a connection could not be made, or was ended by the peer.

        :param notice: see :meth:`Outcome.failed`.
        :return: the seconds until the next one may be tried.
        """
        self.stop()
        self._failures += 1
        self.outcome.failed(wall_s(self.clock), why, notice=notice)
        wait_s = _BASE_S ** min(self._failures, 32)
        wait_s *= self.random.uniform(1 - _JITTER, 1 + _JITTER)
        return min(self.settings.syslog_backoff_max_s, wait_s)

    def unfit(self, why: str) -> None:
        """Note that a message cannot be sent over any connection."""
        self.outcome.noted(wall_s(self.clock), why)

    def stop(self) -> None:
        """Note that the connection has ended before it could prove to be good."""
        steady, self._steady = self._steady, None
        if steady is not None:
            steady.cancel()

    def _forgive(self) -> None:
        self._steady = None
        self._failures = 0


@frozen
class Pace:
    """
    The times of a kind of drain, in seconds.

    :ivar linger: the time between two batches of a busy drain.
    :ivar linger_messages: the number of messages that do not wait for more.
    :ivar idle_s: the time after which an unused connection is closed; up to ``idle_jitter_s`` is
        added.
    :ivar max_age_s: the longest life of a connection.
    """

    connect_timeout_s: float
    linger: Linger
    linger_messages: int
    idle_s: float
    idle_jitter_s: float
    max_age_s: float
