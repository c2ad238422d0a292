# SPDX-License-Identifier: Apache-2.0

"""
The counts and the log of refused requests with messages, for the node and for the channel (PROTOCOL
§4).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from attrs import define, field
from prometheus_client.core import CounterMetricFamily
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from logplex.inputs.gate import Sender
from logplex.live import Live
from logplex.metrics import Sample
from logplex.routing.registry import Registry
from logplex.settings import Limits
from logplex.web import Refusal, Request

_log = Logger()


@define(eq=False, repr=False)
class Refusals:
    """
    The counts of refused requests, by status and reason, for the node and for the channel of a
    known sender.

    Each combination of status and reason is logged at most once in ``[limits]
    unknown_token_log_interval_s``.
    """

    registry: Registry
    limits: Live[Limits]
    clock: IReactorTime
    _counts: Counter[tuple[int, str]] = field(factory=Counter, init=False)
    # By status and reason: the time of the last line in the log, and the count at that time.
    _logged: dict[tuple[int, str], tuple[float, int]] = field(factory=dict, init=False)

    def count(self, request: Request, refusal: Refusal) -> None:
        """Count the refusal of a request, for the node and for the sender's channel."""
        cause = refusal.status, refusal.reason
        self._counts[cause] += 1
        sender: Sender = request.getComponent(Sender)
        channel_id = self._channel_id(sender)
        stream = self.registry.stream(channel_id) if channel_id else None
        if stream:
            stream.activity.refuse(*cause)
        self._log(request, cause, channel_id)

    def samples(self) -> Iterator[Sample]:
        """Yield the numbers of refused requests, for metrics."""
        for (status, reason), count in self._counts.items():
            yield Sample(
                "logplex_logs_requests_refused",
                "Requests with messages that were refused, by status and reason",
                count,
                {"status": str(status), "reason": reason},
                CounterMetricFamily,
            )

    def _channel_id(self, sender: Sender) -> str | None:
        token = self.registry.token(sender.token.decode()) if sender.token else None
        return token.channel_id if token else sender.channel_id

    def _log(self, request: Request, cause: tuple[int, str], channel_id: str | None) -> None:
        now = self.clock.seconds()
        logged_at, counted = self._logged.get(cause, (None, 0))
        if logged_at is None or now - logged_at >= self.limits.now.unknown_token_log_interval_s:
            self._logged[cause] = now, self._counts[cause]
            _log.warn(
                "refused {count} requests with messages: {status} {reason}; "
                "the last came from {peer} for channel {channel}",
                count=self._counts[cause] - counted,
                status=cause[0],
                reason=cause[1],
                peer=request.address,
                channel=channel_id or "-",
            )
