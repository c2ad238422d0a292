# SPDX-License-Identifier: Apache-2.0

"""
The file descriptors of the process: their maximum number, and a reserve.

Inputs may not use the last descriptors, so that the APIs and the metrics still get some. The very
last descriptors are for drains and stores. So a flood of connections cannot keep operators out, or
stop the delivery of messages.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from typing import ClassVar

from attrs import define, field
from prometheus_client import ProcessCollector
from prometheus_client.core import CounterMetricFamily
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from logplex.live import Live
from logplex.metrics import Sample
from logplex.settings import Limits, Settings

_log = Logger()

#: The limit that the node asks for at most. A kernel allows no more by default.
MAX_DESCRIPTORS = 1_048_576
#: The log has at most one line for refused connections in this time.
LOG_INTERVAL_S = 60.0
#: The listeners that may use a half of the reserve.
_PRIVILEGED = frozenset({"api", "api_v3", "metrics"})


def raise_limit() -> int:
    """
    Raise the maximum number of open descriptors as far as the system permits. Return the new
    maximum.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return MAX_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


def missing_descriptors(settings: Settings, limit: int) -> int:
    """
    Return the number of descriptors that the process lacks for all connections that ``[limits]``
    permits.
    """
    limits, listen = settings.limits, settings.listen
    needed = limits.reserved_descriptors
    if listen.syslog or listen.syslog_tls:
        needed += limits.syslog_connections
    if listen.logs:
        needed += limits.logs_connections
    needed += limits.api_connections * sum(map(bool, (listen.api, listen.api_v3, listen.metrics)))
    return max(0, needed - limit)


def next_number() -> int | None:
    """
    Return the number that the next opened descriptor will get; ``None`` if the process has no free
    descriptor.
    """
    try:
        number = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    os.close(number)
    return number


@define(eq=False, repr=False)
class Descriptors:
    """
    The file descriptors of this process, and the reserve for important connections.

    :ivar limit: the maximum number of descriptors of the process.
    :ivar next_number: returns the number that the next opened descriptor will get.
    :ivar refused: for each listener, the number of connections that were refused to keep the
        reserve.
    """

    clock: IReactorTime
    limit: int
    limits: Live[Limits]
    next_number: Callable[[], int | None] = next_number
    refused: dict[str, int] = field(factory=dict)
    _told_at: float | None = None

    def reserving(self, listener: str, factory: IProtocolFactory) -> IProtocolFactory:
        """Return a factory that refuses connections which would need a reserved descriptor."""
        self.refused.setdefault(listener, 0)
        return _ReservingFactory(self, listener, factory)

    def admit(self, listener: str) -> bool:
        """Return true if a listener may use a descriptor for one more connection."""
        reserve = min(self.limits.now.reserved_descriptors, self.limit // 4)
        if listener in _PRIVILEGED:
            reserve //= 2
        # The system gives the lowest number that is free, so this many are in use at least.
        in_use = self.next_number()
        if in_use is not None and in_use < self.limit - reserve:
            return True
        self.refused[listener] += 1
        now_s = self.clock.seconds()
        if self._told_at is None or now_s - self._told_at >= LOG_INTERVAL_S:
            self._told_at = now_s
            _log.warn(
                "connections to {listener} are refused: the node may have {limit} open files."
                " Raise the limit of open files",
                listener=listener,
                limit=self.limit,
            )
        return False

    def samples(self) -> Iterator[Sample]:
        """Yield the numbers of descriptors and of refused connections, for metrics."""
        for listener, refused in self.refused.items():
            yield Sample(
                "logplex_connections_refused_for_descriptors",
                "Connections refused to keep descriptors for the APIs, drains and stores",
                refused,
                {"listener": listener},
                CounterMetricFamily,
            )
        yield from process_samples()


def process_samples() -> Iterator[Sample]:
    """Yield the usual numbers of a process under the names that Prometheus gives them."""
    for family in ProcessCollector(registry=None).collect():
        for sample in family.samples:
            if isinstance(family, CounterMetricFamily):
                yield Sample(
                    family.name, family.documentation, sample.value, kind=CounterMetricFamily
                )
            else:
                yield Sample(family.name, family.documentation, sample.value)


@implementer(IProtocolFactory)
@define(eq=False, repr=False)
class _ReservingFactory:
    """
    A factory of protocols that refuses some connections. Another factory makes the protocols for
    all other connections.
    """

    noisy: ClassVar[bool] = False
    _descriptors: Descriptors
    _listener: str
    _factory: IProtocolFactory

    def buildProtocol(self, addr: IAddress) -> IProtocol | None:
        """See :class:`IProtocolFactory`."""
        if self._descriptors.admit(self._listener):
            return self._factory.buildProtocol(addr)
        return None

    def doStart(self) -> None:
        """See :class:`IProtocolFactory`."""
        self._factory.doStart()

    def doStop(self) -> None:
        """See :class:`IProtocolFactory`."""
        self._factory.doStop()
