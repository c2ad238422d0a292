# SPDX-License-Identifier: Apache-2.0

"""
Count the requests that an API refused, by status and reason, and log the counts now and then.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from attrs import define, field
from prometheus_client.core import CounterMetricFamily
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web import server
from zope.interface import Interface

from logplex.metrics import Sample
from logplex.web import Request

_log = Logger()

#: The log has a line about one status and reason at most once in this time.
LOG_INTERVAL_S = 60.0

#: Answers in the everyday work of clients. Failures to authenticate have a line of their own.
_EVERYDAY = frozenset({401, 404, 405, 409})

_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")


class IRefusal(Interface):
    """
    The component of a request that holds the exception that caused the refusal of the request.
    """


def remember_refusal(request: server.Request, error: BaseException | None) -> None:
    """Attach the exception that caused a refusal to the request."""
    if error is not None:
        request.setComponent(IRefusal, error)


def reason_of(error: BaseException) -> str:
    """Return the name of an exception's class in the form ``too_many_drains``."""
    return _CAPITAL.sub("_", type(error).__name__).lower()


@define(eq=False, repr=False)
class RefusalCounts:
    """
    The counts of the requests that one API refused.

    :param api: the name of the API, for the metrics and the log.
    """

    _api: str
    _clock: IReactorTime
    _counts: Counter[tuple[int, str]] = field(factory=Counter, init=False)
    # By status and reason: the time of the last line in the log, and the count at that time.
    _told: dict[tuple[int, str], tuple[float, int]] = field(factory=dict, init=False)

    def watch(self, request: Request) -> None:
        """Count an admitted request later, if its answer is a refusal."""
        request.notifyFinish().addBoth(self._finished, request)

    def count(self, status: int, reason: str, address: str) -> None:
        """Count a refused request."""
        cause = status, reason
        self._counts[cause] += 1
        now = self._clock.seconds()
        told_at, count = self._told.get(cause, (None, 0))
        if status not in _EVERYDAY and (told_at is None or now - told_at >= LOG_INTERVAL_S):
            self._told[cause] = now, self._counts[cause]
            _log.warn(
                "{api} refused {count} requests: {status} {reason}; the last came from {address}",
                api=self._api,
                count=self._counts[cause] - count,
                status=status,
                reason=reason,
                address=address,
            )

    def samples(self) -> Iterator[Sample]:
        """Yield metrics: the numbers of refused requests."""
        for (status, reason), count in self._counts.items():
            yield Sample(
                "logplex_api_requests_refused",
                "Requests to the APIs that were refused, by status and reason",
                count,
                {"api": self._api, "status": str(status), "reason": reason},
                CounterMetricFamily,
            )

    def _finished(self, _: object, request: Request) -> None:
        if request.code < 400:
            return
        error = request.getComponent(IRefusal)
        if error is not None:
            reason = reason_of(error)
        elif request.code == 413:
            reason = "too_large"
        else:
            reason = "failed" if request.code >= 500 else "refused"
        self.count(request.code, reason, request.address)
