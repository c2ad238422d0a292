# SPDX-License-Identifier: Apache-2.0

"""
Drains of this process with real sockets: a registry, its drains, and receivers to send to.
"""

from __future__ import annotations

import trustme
from attrs import evolve
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.ssl import CertificateOptions, KeyPair, PrivateCertificate
from twisted.internet.tcp import Client
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import TestCase

from logplex.drains.service import DrainService
from logplex.interfaces import DrainStatus
from logplex.live import Live
from logplex.metrics import Counters
from logplex.model.values import Channel, Delete, Drain, Put
from logplex.routing.registry import Registry, Stream
from logplex.settings import DrainSettings, Limits
from tests.integration.cases import IntegrationTestCase
from tests.integration.process import PATIENCE_S, reactor, until


def message(number: int, text: str = "") -> bytes:
    """A cooked message that can be told from all others."""
    return b"<190>1 2026-11-22T15:59:59+00:00 web-7 app web.1 - - number %d %b\n" % (
        number,
        text.encode(),
    )


def numbers(frames: list[bytes]) -> list[int]:
    """Return the numbers of these messages, without notices."""
    return [
        int(frame.split(b" number ", 1)[1].split(b" ", 1)[0])
        for frame in frames
        if b" heroku logplex " not in frame
    ]


class DrainsTestCase(IntegrationTestCase):
    """Drains that run as long as the test does; what they tell their channel is kept."""

    options = DrainSettings()

    def setUp(self) -> None:
        self.registry = Registry()
        self.counters = Counters()
        self.told: list[bytes] = []
        self.drains = self.service(self.options)
        self.last_id = 0

    def service(self, options: DrainSettings) -> DrainService:
        service = DrainService(
            self.registry,
            lambda channel_id, message, except_for: self.told.append(message),
            self.counters,
            evolve(options, flush_s=1.0),
            limits=Live(Limits()),
            reactor=reactor,
        )
        service.start()
        self.addCleanup(self.end, service)
        return service

    async def end(self, service: DrainService) -> None:
        """Stop, and wait for the peers to agree: TLS has a good-bye."""
        await service.stop()

        async def look() -> bool:
            return not any(isinstance(each, Client) for each in reactor.getReaders())

        await until(look, "all connections are closed")

    def drain(self, url: str) -> Drain:
        """A drain in a channel of its own."""
        self.last_id += 1
        drain = Drain(self.last_id, f"channel-{self.last_id}", f"d.{self.last_id}", url)
        self.registry.changed([Put(Channel(drain.channel_id)), Put(drain)])
        return drain

    def move(self, drain: Drain, url: str) -> None:
        self.registry.changed([Put(evolve(drain, url=url))])

    def delete(self, drain: Drain) -> None:
        self.registry.changed([Delete(Drain, drain.id)])

    def stream(self, drain: Drain) -> Stream:
        stream = self.registry.stream(drain.channel_id)
        assert stream is not None
        return stream

    def push(self, drain: Drain, first: int, count: int, text: str = "") -> None:
        """Give the drain messages with these numbers, in one chunk."""
        [outlet] = self.stream(drain).outlets
        outlet.push([message(number, text) for number in range(first, first + count)])

    def status(self, drain: Drain) -> DrainStatus:
        status = self.drains.status(drain.id)
        assert status is not None
        self.assertEqual(status.received, status.delivered + status.dropped + status.buffered)
        return status

    async def settled(self, drain: Drain, seconds: float = PATIENCE_S) -> DrainStatus:
        """The status once nothing is buffered."""

        async def look() -> DrainStatus | None:
            status = self.status(drain)
            return None if status.buffered else status

        return await until(look, f"drain {drain.id} has delivered or dropped all", seconds)

    async def in_state(self, drain: Drain, state: str) -> None:
        async def look() -> bool:
            return self.status(drain).state == state

        await until(look, f"drain {drain.id} is {state}")

    async def failed(self, drain: Drain) -> str:
        """The first error of a drain."""

        async def look() -> str | None:
            return self.status(drain).last_error

        return await until(look, f"drain {drain.id} has failed")


def listen_tls(test: TestCase, shown: trustme.LeafCert, factory: IProtocolFactory) -> int:
    """Serve TLS with this certificate on loopback, as long as the test runs; the port."""
    pem = shown.private_key_and_cert_chain_pem.bytes()
    own = PrivateCertificate.fromCertificateAndKeyPair(
        PrivateCertificate.loadPEM(pem), KeyPair.load(pem, 1)
    )
    port = reactor.listenTCP(
        0,
        TLSMemoryBIOFactory(
            CertificateOptions(own.privateKey.original, own.original), False, factory, reactor
        ),
        interface="127.0.0.1",
    )
    test.addCleanup(port.stopListening)
    return int(port.getHost().port)
