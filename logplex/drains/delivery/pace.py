"""
The times of drains: how long busy ones wait for company, and how long failing ones wait.
"""

from __future__ import annotations

from random import Random

from attrs import define, field, frozen
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from logplex.drains.delivery.buffer import Buffer
from logplex.drains.delivery.courier import Outcome
from logplex.settings import DrainSettings

#: After failure k in a row the next connect comes in about 2^k s.
_BASE_S = 2.0
_JITTER = 0.25
#: A connection that is open so long after it was written to is a good one.
STEADY_AFTER_S = 1.0


@define(eq=False, repr=False)
class Backoff:
    """The failures of one drain in a row."""

    settings: DrainSettings
    buffer: Buffer
    outcome: Outcome
    clock: IReactorTime
    random: Random
    _failures: int = field(default=0, init=False)
    _steady: IDelayedCall | None = field(default=None, init=False)

    def wrote(self) -> None:
        """The kernel took what was written."""
        self.outcome.succeeded(self.clock.seconds())
        if self._failures and self._steady is None:
            self._steady = self.clock.callLater(STEADY_AFTER_S, self._forgive)

    def failed(self, why: str) -> float:
        """
        A connection could not be made, or came to an end that was not ours.

        :return: in how many seconds the next one may be tried.
        """
        self.stop()
        self._failures += 1
        self.outcome.failed(self.clock.seconds(), why)
        if (
            self._failures >= self.settings.syslog_shrink_after_failures
            and len(self.buffer.messages) >= self.buffer.limit
        ):
            self.buffer.resize(self.settings.shrunk_buffer_messages)
        wait_s = _BASE_S ** min(self._failures, 32)
        wait_s *= self.random.uniform(1 - _JITTER, 1 + _JITTER)
        return min(self.settings.syslog_backoff_max_s, wait_s)

    def unfit(self, why: str) -> None:
        """A message cannot be sent over any connection: the owner sees why, and no wait follows."""
        self.outcome.noted(self.clock.seconds(), why)

    def stop(self) -> None:
        """The connection is over: it can prove nothing any more."""
        steady, self._steady = self._steady, None
        if steady is not None:
            steady.cancel()

    def _forgive(self) -> None:
        self._steady = None
        self._failures = 0
        if self.buffer.limit < self.settings.buffer_messages:
            self.buffer.resize(self.settings.buffer_messages)


#: So many batches a second may all busy drains of a node send together before each waits longer.
#: A request costs 80 µs or more, however little it carries: these take a twentieth of a core.
BATCHES_PER_S = 500


@define(eq=False, repr=False)
class Linger:
    """
    What all drains of a node share: they count themselves, and each waits according to their
    number. A drain is busy that has sent something in the last two or four times ``most_s``.

    :ivar least_s: from one batch of a busy drain to its next, where few are busy.
    :ivar most_s: the same, however many are busy.
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
        """From one batch of a drain to its next."""
        busy = max(self._busy, self._busy_before)
        return min(self.most_s, max(self.least_s, busy / BATCHES_PER_S))

    def sends(self, now: float, last_sent_at: float) -> None:
        """A drain sends something, and has sent something before at that time."""
        window_s = 2 * self.most_s
        age_s = now - self._began_at
        if not 0 <= age_s < window_s:  # A clock may be set back.
            self._busy_before = self._busy if 0 <= age_s < 2 * window_s else 0
            self._busy = 0
            self._began_at = now
        if last_sent_at < self._began_at:
            self._busy += 1


@frozen
class Pace:
    """
    The times of a kind of drain, in seconds.

    :ivar linger: between one batch and the next, for company, while the drain is busy.
    :ivar linger_messages: so many need no more company.
    :ivar idle_s: a connection that was not used for so long, and up to ``idle_jitter_s`` more,
        is closed.
    :ivar max_age_s: so is one that was made so long ago.
    """

    connect_timeout_s: float
    linger: Linger
    linger_messages: int
    idle_s: float
    idle_jitter_s: float
    max_age_s: float
