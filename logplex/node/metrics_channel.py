"""
The node's counts as log lines in a channel, once a minute.
"""

from __future__ import annotations

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from logplex.interfaces import Tell
from logplex.metrics import Counters
from logplex.syslog.notices import timestamp

_log = Logger()

INTERVAL_S = 60.0


def _totals(counters: Counters) -> dict[str, int]:
    """Return the counts under the names that operators of the Erlang Logplex know."""
    return {
        "message.received": counters.received,
        "message.received-malformed": counters.malformed,
        "message.processed": counters.processed,
        "unknown_token": counters.unknown_token,
        "unknown_channel": counters.unknown_channel,
        "drain.delivered": counters.drain_delivered,
        "drain.dropped": counters.drain_dropped,
    }


@define(eq=False, repr=False)
class MetricsChannel:
    """
    Write the counts since the previous line into a channel: ``source=NODE count#NAME=N …``.

    :ivar channel_id: the channel; empty to write nothing.
    :ivar node: the node's name.
    """

    channel_id: str
    node: str
    counters: Counters
    tell: Tell
    clock: IReactorTime
    _told: dict[str, int] = field(factory=dict, init=False)
    _loop: LoopingCall | None = field(default=None, init=False)

    def start(self) -> None:
        """Write a line once a minute from now on."""
        if self.channel_id and self._loop is None:
            self._loop = LoopingCall(self._tell_safely)
            self._loop.clock = self.clock
            self._loop.start(INTERVAL_S, now=False)

    def stop(self) -> None:
        """Write no more lines."""
        if self._loop is not None:
            self._loop.stop()
            self._loop = None

    def _tell_safely(self) -> None:
        try:
            self.tell(self.channel_id, self._message(), None)
        except Exception:  # an exception would end the loop for ever
            _log.failure("bug: cannot tell the metrics channel")

    def _message(self) -> bytes:
        counts = []
        for name, total in _totals(self.counters).items():
            counts.append(f"count#{name}={total - self._told.get(name, 0)}")
            self._told[name] = total
        text = f"source={self.node} {' '.join(counts)}"
        return b"<190>1 %b host heroku logplex - - %b" % (
            timestamp(self.clock.seconds()),
            text.encode(),
        )
