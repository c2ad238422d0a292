# SPDX-License-Identifier: Apache-2.0

"""
The kinds of drains: each has a courier, and a row in :meth:`Kinds.make`.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IStreamClientEndpoint

from logplex.drains.delivery.courier import Courier, Outcome, Reports, Supply
from logplex.drains.delivery.pace import Backoff, Linger, Pace
from logplex.drains.kinds.attempts import Attempts
from logplex.drains.kinds.http import HttpCourier, http_pace
from logplex.drains.kinds.syslog import SyslogCourier, syslog_pace
from logplex.drains.kinds.udp import UdpCourier, udp_pace
from logplex.drains.network.guard import Guard, GuardedReactor
from logplex.drains.network.resolver import Resolver
from logplex.drains.network.tls import Trust
from logplex.interfaces import IReactor
from logplex.model.destination import (
    Destination,
    HttpDestination,
    SyslogDestination,
    UdpDestination,
)
from logplex.model.values import Drain
from logplex.settings import DrainSettings


@define(eq=False, repr=False, kw_only=True)
class Kinds:
    """
    The kinds of drains, and the courier of each kind.

    :ivar reactor: makes sockets, and is the clock.
    :ivar connect_to: returns an endpoint for a host and port, without TLS; the default
        connects over TCP to the fastest permitted address of the host.
    """

    settings: DrainSettings
    trust: Trust
    guard: Guard
    resolver: Resolver
    reactor: IReactor
    random: Random
    connect_to: Callable[[str, int], IStreamClientEndpoint] | None = None
    attempts: Attempts = field(init=False)
    _http_pace: Pace = field(init=False)
    _syslog_pace: Pace = field(init=False)
    _udp_pace: Pace = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.attempts = Attempts(
            self.settings.connects_per_s,
            self.settings.connect_timeout_s,
            self.reactor,
            self.random,
        )
        linger = Linger(self.settings.linger_s, self.settings.linger_max_s)
        self._http_pace = http_pace(self.settings, linger)
        self._syslog_pace = syslog_pace(self.settings, linger)
        self._udp_pace = udp_pace(self.settings, linger)

    def make(
        self,
        drain: Drain,
        destination: Destination,
        buffer: Supply,
        outcome: Outcome,
        *,
        reports: Reports,
        at_once: bool = False,
    ) -> tuple[Courier[Any], Pace]:
        """
        Make the courier of a drain for a destination. Return the courier and the times of its kind.

        :param at_once: true if the courier may connect without waiting for the attempts of other
            drains.
        """
        if isinstance(destination, HttpDestination):
            http = HttpCourier(
                destination=destination,
                drain_token=drain.token,
                buffer=buffer,
                outcome=outcome,
                reports=reports,
                settings=self.settings,
                endpoint=self._endpoint(
                    drain.channel_id, destination, None if at_once else reports
                ),
                clock=self.reactor,
                random=self.random,
            )
            return http, self._http_pace
        token = drain.token.encode("ascii")
        backoff = Backoff(self.settings, outcome, self.reactor, self.random)
        if isinstance(destination, SyslogDestination):
            syslog = SyslogCourier(
                destination=destination,
                drain_token=token,
                buffer=buffer,
                backoff=backoff,
                reports=reports,
                settings=self.settings,
                endpoint=self._endpoint(
                    drain.channel_id, destination, None if at_once else reports
                ),
                clock=self.reactor,
            )
            return syslog, self._syslog_pace
        assert isinstance(destination, UdpDestination)
        udp = UdpCourier(
            destination=destination,
            drain_token=token,
            buffer=buffer,
            backoff=backoff,
            reports=reports,
            resolver=self.resolver.of(drain.channel_id),
            guard=self.guard,
            reactor=self.reactor,
        )
        return udp, self._udp_pace

    def _endpoint(
        self,
        channel_id: str,
        destination: HttpDestination | SyslogDestination,
        reports: Reports | None,
    ) -> IStreamClientEndpoint:
        """:param reports: gives the drain a place among the attempts of all drains."""
        host, port = destination.host, destination.port
        endpoint = self._tcp_endpoint(host, port, channel_id)
        verify = destination.verify and self.settings.verify_certificates
        if destination.tls:
            endpoint = self.trust.secured(endpoint, host, verify, self.reactor)
        if reports is None:
            return endpoint
        how = ("verified" if verify else "insecure") if destination.tls else ""
        return self.attempts.endpoint(endpoint, (host, port, how), reports)

    def _tcp_endpoint(self, host: str, port: int, channel_id: str) -> IStreamClientEndpoint:
        if self.connect_to is not None:
            return self.connect_to(host, port)
        guarded = GuardedReactor(self.reactor, self.guard, self.resolver.of(channel_id))
        return guarded.endpoint(host, port, self.settings.connect_timeout_s)
