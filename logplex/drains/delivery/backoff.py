"""
How syslog drains bear failure: longer and longer waits, and a buffer that shrinks (PROTOCOL §9).
"""

from __future__ import annotations

from random import Random

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from logplex.drains.delivery.buffer import Buffer
from logplex.drains.delivery.record import Record
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
    record: Record
    clock: IReactorTime
    random: Random
    _failures: int = field(default=0, init=False)
    _steady: IDelayedCall | None = field(default=None, init=False)

    def wrote(self) -> None:
        """The kernel took what was written."""
        self.record.succeeded(self.clock.seconds())
        if self._failures and self._steady is None:
            self._steady = self.clock.callLater(STEADY_AFTER_S, self._forgive)

    def failed(self, why: str) -> float:
        """
        A connection could not be made, or came to an end that was not ours.

        :return: in how many seconds the next one may be tried.
        """
        self.stop()
        self._failures += 1
        self.record.failed(self.clock.seconds(), why)
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
        self.record.noted(self.clock.seconds(), why)

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
