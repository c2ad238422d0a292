"""
Signs of life for readers who hear nothing: one timer for all of them.
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from logplex.settings import Limits
from logplex.tails.tail import Stream


@define(eq=False, repr=False)
class Keepalive:
    """
    Writes something to every reader of events after so many seconds of silence.

    Streams that are over are forgotten when their time comes.
    """

    clock: IReactorTime
    limits: Limits
    _due: list[tuple[float, int, Stream]] = field(factory=list)
    _serial: count[int] = field(factory=count)
    _timer: IDelayedCall | None = None

    def watch(self, stream: Stream) -> None:
        """From now on, until it is over."""
        self._push(stream, self.clock.seconds() + self.limits.tail_keepalive_s)
        if self._timer is None:
            self._set_timer()

    def stop(self) -> None:
        """No more signs of life for anybody."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _push(self, stream: Stream, due_s: float) -> None:
        heappush(self._due, (due_s, next(self._serial), stream))

    def _set_timer(self) -> None:
        wait_s = max(0.0, self._due[0][0] - self.clock.seconds())
        self._timer = self.clock.callLater(wait_s, self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = self.clock.seconds()
        while self._due and self._due[0][0] <= now:
            _, _, stream = heappop(self._due)
            if stream.is_over:
                continue
            if stream.written_s + self.limits.tail_keepalive_s > now:
                self._push(stream, stream.written_s + self.limits.tail_keepalive_s)
                continue
            stream.keep_alive()
            self._push(stream, now + self.limits.tail_keepalive_s)
        if self._due:
            self._set_timer()
