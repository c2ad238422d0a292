"""
How connections of drains are made: whose certificates are verified.
"""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from logplex.config import Drains
from logplex.destination import parse_destination
from logplex.drains.buffer import Buffer
from logplex.drains.couriers import Couriers
from logplex.drains.guard import Guard
from logplex.drains.names import Names
from logplex.drains.record import Record
from logplex.drains.tls import Trust
from logplex.metrics import Counters
from logplex.model import Drain


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


class VerificationTests(SynchronousTestCase):
    """Receivers are verified unless the drain or the node says otherwise."""

    URLS = ("https://one.example", "https://two.example#insecure", "syslog+tls://three.example")

    def asked(self, settings: Drains) -> dict[str, bool]:
        """Which hosts are verified when drains with these settings get their couriers."""
        clock: Any = Clock()
        trust = _AskedTrust()
        couriers = Couriers(
            settings,
            trust,
            Guard(settings.deny_networks),
            Names(clock),
            clock,
            Random(),
            lambda host, port: TCP4ClientEndpoint(clock, host, port),
        )
        for number, url in enumerate(self.URLS):
            buffer = Buffer(clock, Counters(), 1, lambda _: None)
            drain = Drain(number, "c", "d.x", url)
            couriers.make(drain, parse_destination(url), buffer, Record())
        return trust.asked

    def test_default(self) -> None:
        self.assertEqual(
            self.asked(Drains()),
            {"one.example": True, "two.example": False, "three.example": True},
        )

    def test_switched_off(self) -> None:
        """``[drains] verify_certificates = false`` is ``#insecure`` for all."""
        self.assertEqual(
            self.asked(Drains(verify_certificates=False)),
            {"one.example": False, "two.example": False, "three.example": False},
        )
