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
from logplex.destination import HttpDestination, SyslogDestination
from logplex.drains.courier import Courier, Pace
from logplex.drains.http import HttpCourier, http_pace
from logplex.drains.lifecycle import Lifecycle
from logplex.drains.running import RunningDrain
from logplex.drains.syslog import SyslogCourier, syslog_pace
from logplex.drains.tls import Trust


@define(eq=False, repr=False)
class Couriers:
    """
    Begins the lives of drains, by the kinds of their destinations.

    :ivar reactor: is the clock.
    :ivar connect_to: leads to a host and port, without TLS.
    """

    settings: Settings
    trust: Trust
    reactor: Any
    random: Random
    connect_to: Callable[[str, int], IStreamClientEndpoint]
    _http_pace: Pace = field(init=False)
    _syslog_pace: Pace = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._http_pace = http_pace(self.settings)
        self._syslog_pace = syslog_pace(self.settings)

    def make_life(self, running: RunningDrain) -> Lifecycle:
        """A life for this drain, not started."""
        courier, pace = self._courier(running)
        return Lifecycle(courier, running.buffer, pace, self.reactor, self.random)

    def _courier(self, running: RunningDrain) -> tuple[Courier, Pace]:
        destination = running.destination
        if isinstance(destination, HttpDestination):
            return (
                HttpCourier(
                    destination,
                    running.drain.token,
                    running.buffer,
                    running.record,
                    self.settings,
                    self._endpoint(destination),
                    self.reactor,
                    self.random,
                    lambda reason: running.notices.certificate_rejected(reason, destination),
                ),
                self._http_pace,
            )
        assert isinstance(destination, SyslogDestination)
        return (
            SyslogCourier(
                destination,
                running.drain.token.encode("ascii"),
                running.buffer,
                running.record,
                self.settings,
                self._endpoint(destination),
                self.reactor,
                self.random,
                lambda reason: running.notices.certificate_rejected(reason, destination),
            ),
            self._syslog_pace,
        )

    def _endpoint(self, destination: HttpDestination | SyslogDestination) -> IStreamClientEndpoint:
        endpoint = self.connect_to(destination.host, destination.port)
        if not destination.tls:
            return endpoint
        creator = self.trust.creator(destination.host, destination.verify)
        secured: IStreamClientEndpoint = wrapClientTLS(creator, endpoint, self.reactor)
        return secured
