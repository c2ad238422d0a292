"""
Which courier a destination takes, and how it reaches its receiver.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from attrs import define, field
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint

from logplex.config import Drains as Settings
from logplex.destination import HttpDestination, SyslogDestination, UdpDestination
from logplex.drains.backoff import Backoff
from logplex.drains.courier import Courier, Pace
from logplex.drains.guard import Guard
from logplex.drains.http import HttpCourier, http_pace
from logplex.drains.lifecycle import Lifecycle
from logplex.drains.names import Names
from logplex.drains.running import RunningDrain
from logplex.drains.syslog import SyslogCourier, syslog_pace
from logplex.drains.tls import Trust
from logplex.drains.udp import UdpCourier, udp_pace


@define(eq=False, repr=False)
class Couriers:
    """
    Begins the lives of drains, by the kinds of their destinations.

    :ivar reactor: makes sockets, and is the clock.
    :ivar connect_to: leads to a host and port, without TLS.
    """

    settings: Settings
    trust: Trust
    guard: Guard
    names: Names
    reactor: Any
    random: Random
    connect_to: Callable[[str, int], IStreamClientEndpoint]
    _http_pace: Pace = field(init=False)
    _syslog_pace: Pace = field(init=False)
    _udp_pace: Pace = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._http_pace = http_pace(self.settings)
        self._syslog_pace = syslog_pace(self.settings)
        self._udp_pace = udp_pace(self.settings)

    def make_life(self, running: RunningDrain) -> Lifecycle:
        """A life for this drain, not started."""
        courier, pace = self._courier(running)
        return Lifecycle(courier, running.buffer, pace, self.reactor, self.random, running.refused)

    def _courier(self, running: RunningDrain) -> tuple[Courier, Pace]:
        destination = running.destination
        if isinstance(destination, HttpDestination):
            return self._http(running, destination), self._http_pace
        if isinstance(destination, SyslogDestination):
            return self._syslog(running, destination), self._syslog_pace
        assert isinstance(destination, UdpDestination)
        return self._udp(running, destination), self._udp_pace

    def _http(self, running: RunningDrain, destination: HttpDestination) -> HttpCourier:
        return HttpCourier(
            destination,
            running.drain.token,
            running.buffer,
            running.record,
            self.settings,
            self._endpoint(destination),
            self.reactor,
            self.random,
        )

    def _syslog(self, running: RunningDrain, destination: SyslogDestination) -> SyslogCourier:
        return SyslogCourier(
            destination,
            running.drain.token.encode("ascii"),
            running.buffer,
            self._backoff(running),
            self.settings,
            self._endpoint(destination),
            self.reactor,
        )

    def _udp(self, running: RunningDrain, destination: UdpDestination) -> UdpCourier:
        return UdpCourier(
            destination,
            running.drain.token.encode("ascii"),
            running.buffer,
            self._backoff(running),
            self.names,
            self.guard,
            self.reactor,
        )

    def _backoff(self, running: RunningDrain) -> Backoff:
        return Backoff(self.settings, running.buffer, running.record, self.reactor, self.random)

    def _endpoint(self, destination: HttpDestination | SyslogDestination) -> IStreamClientEndpoint:
        endpoint = self.connect_to(destination.host, destination.port)
        if not destination.tls:
            return endpoint
        creator = self.trust.creator(destination.host, destination.verify)
        secured: IStreamClientEndpoint = wrapClientTLS(creator, endpoint, self.reactor)
        return secured
