# SPDX-License-Identifier: Apache-2.0

"""The connections of drains: the certificates that are verified, and what the kinds share."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from logplex.drains.delivery.buffer import Buffer
from logplex.drains.delivery.courier import Courier, Outcome
from logplex.drains.delivery.pace import Pace
from logplex.drains.kinds import Kinds
from logplex.drains.network.guard import Guard
from logplex.drains.network.resolver import Resolver
from logplex.drains.network.tls import Trust
from logplex.drains.probe import Probe
from logplex.metrics import Counters
from logplex.model.destination import parse_destination
from logplex.model.values import Drain
from logplex.settings import DrainSettings


class _AskedTrust(Trust):
    """Remembers whom it was asked to verify."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: dict[str, bool] = {}

    def secured(
        self, endpoint: IStreamClientEndpoint, host: str, verify: bool, clock: IReactorTime
    ) -> IStreamClientEndpoint:
        self.asked[host] = verify
        return super().secured(endpoint, host, verify, clock)


def couriers_of(settings: DrainSettings, trust: Trust) -> Kinds:
    clock: Any = Clock()
    return Kinds(
        settings=settings,
        trust=trust,
        guard=Guard(settings.deny_networks),
        resolver=Resolver(clock),
        reactor=clock,
        random=Random(),
        connect_to=lambda host, port: TCP4ClientEndpoint(clock, host, port),
    )


def make(couriers: Kinds, url: str) -> tuple[Courier[Any], Pace]:
    """The courier to this URL, and its times."""
    buffer = Buffer(Clock(), Counters(), 1, lambda _: None)
    drain = Drain(1, "c", "d.x", url)
    reports = Probe(Clock())
    return couriers.make(drain, parse_destination(url), buffer, Outcome(), reports=reports)


class VerificationTests(SynchronousTestCase):
    """Receivers are verified unless the drain or the node says otherwise."""

    URLS = ("https://one.example", "https://two.example#insecure", "syslog+tls://three.example")

    def asked(self, settings: DrainSettings) -> dict[str, bool]:
        """Return for each host whether drains with these settings verify it."""
        trust = _AskedTrust()
        couriers = couriers_of(settings, trust)
        for url in self.URLS:
            make(couriers, url)
        return trust.asked

    def test_default(self) -> None:
        self.assertEqual(
            self.asked(DrainSettings()),
            {"one.example": True, "two.example": False, "three.example": True},
        )

    def test_switched_off(self) -> None:
        """``[drains] verify_certificates = false`` is ``#insecure`` for all."""
        self.assertEqual(
            self.asked(DrainSettings(verify_certificates=False)),
            {"one.example": False, "two.example": False, "three.example": False},
        )


class LingerTests(SynchronousTestCase):
    def test_shared(self) -> None:
        """Drains of all kinds count together who is busy, within the configured times."""
        couriers = couriers_of(DrainSettings(linger_s=0.1, linger_max_s=0.3), Trust())
        urls = ("http://one.example", "http://two.example", "syslog://three", "syslog+udp://four")
        lingers = [make(couriers, url)[1].linger for url in urls]
        self.assertEqual([linger.seconds for linger in lingers], [0.1] * 4)
        for _ in range(1_000):
            lingers[0].sends(1.0, 0.0)
        self.assertEqual([linger.seconds for linger in lingers], [0.3] * 4)
