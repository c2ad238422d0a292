# SPDX-License-Identifier: Apache-2.0

"""
The bound on the sessions that this node opens for one channel.
"""

from __future__ import annotations

from collections import Counter, deque

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from logplex.api.refusals import TooManySessions
from logplex.live import Live
from logplex.metrics import Counters
from logplex.settings import Limits

_log = Logger()

#: The log has a line about refused sessions at most once in this time.
LOG_INTERVAL_S = 60.0


@define(eq=False, repr=False)
class SessionBound:
    """
    The bound on the sessions of one channel, so that no tenant fills the store of all with them.

    Each node counts the sessions that it opens, for the time of their first lifetime, even if they
    are ended or renewed before.
    """

    _clock: IReactorTime
    _limits: Live[Limits]
    _counters: Counters
    _open: Counter[str] = field(factory=Counter, init=False)
    _expiries: deque[tuple[float, str]] = field(factory=deque, init=False)
    _log_after_s: float = field(default=0.0, init=False)

    def count(self, channel_id: str) -> None:
        """
        Count one more session of a channel.

        :raise TooManySessions: the channel has as many as it may have.
        """
        now = self._clock.seconds()
        self._forget_expired(now)
        bound = self._limits.now.sessions_per_channel
        if self._open[channel_id] >= bound:
            self._counters.sessions_refused += 1
            self._tell(channel_id, bound, now)
            first_s = next((at for at, each in self._expiries if each == channel_id), now)
            raise TooManySessions(max(1, round(first_s - now)))
        self._open[channel_id] += 1
        self._expiries.append((now + self._limits.now.session_lifetime_s, channel_id))

    def _forget_expired(self, now: float) -> None:
        while self._expiries and self._expiries[0][0] <= now:
            _, channel_id = self._expiries.popleft()
            self._open[channel_id] -= 1
            if not self._open[channel_id]:
                del self._open[channel_id]

    def _tell(self, channel_id: str, bound: int, now: float) -> None:
        if now >= self._log_after_s:
            self._log_after_s = now + LOG_INTERVAL_S
            _log.warn(
                "channel {channel_id} has {bound} sessions, [limits] sessions_per_channel: further"
                " ones are refused",
                channel_id=channel_id,
                bound=bound,
            )
