# SPDX-License-Identifier: Apache-2.0

"""
The bound on the sessions that this node opens for one channel.
"""

from __future__ import annotations

from collections import deque

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
    The bound on the sessions of one channel. Without it, the sessions of one tenant could fill the
    store of all tenants.

    Each node counts the sessions that it opens. A session counts for its first lifetime, even if it
    ends earlier or is renewed.
    """

    _clock: IReactorTime
    _limits: Live[Limits]
    _counters: Counters
    # By channel, and of all channels in order: the times at which their sessions expire.
    _expiries: dict[str, deque[float]] = field(factory=dict, init=False)
    _order: deque[tuple[float, str]] = field(factory=deque, init=False)
    _log_after_s: float = field(default=0.0, init=False)

    def count(self, channel_id: str) -> None:
        """
        Count a new session of a channel.

        :raise TooManySessions: the channel has the maximum number of sessions.
        """
        now = self._clock.seconds()
        limits = self._limits.now
        self._forget_expired(now)
        expiries = self._expiries.get(channel_id, deque())
        if len(expiries) >= limits.sessions_per_channel:
            self._counters.sessions_refused += 1
            self._tell(channel_id, limits.sessions_per_channel, now)
            wait_s = expiries[0] - now if expiries else limits.session_lifetime_s
            raise TooManySessions(max(1, round(wait_s)))
        expires_s = now + limits.session_lifetime_s
        expiries.append(expires_s)
        self._expiries[channel_id] = expiries
        self._order.append((expires_s, channel_id))

    def _forget_expired(self, now: float) -> None:
        while self._order and self._order[0][0] <= now:
            _, channel_id = self._order.popleft()
            expiries = self._expiries[channel_id]
            expiries.popleft()
            if not expiries:
                del self._expiries[channel_id]

    def _tell(self, channel_id: str, bound: int, now: float) -> None:
        if now >= self._log_after_s:
            self._log_after_s = now + LOG_INTERVAL_S
            _log.warn(
                "channel {channel_id} has {bound} sessions, [limits] sessions_per_channel: further"
                " ones are refused",
                channel_id=channel_id,
                bound=bound,
            )
