# SPDX-License-Identifier: Apache-2.0

"""Syslog drains over UDP: datagrams, where they go, and what the network says."""

from __future__ import annotations

from datetime import UTC, datetime
from errno import ECONNREFUSED, EMSGSIZE, ENETUNREACH
from typing import Any

from twisted.internet.error import MessageLengthError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from logplex.drains.delivery.buffer import Buffer
from logplex.drains.delivery.courier import Courier, Outcome, Reports
from logplex.drains.delivery.lifecycle import Lifecycle
from logplex.drains.delivery.pace import Backoff, Linger, Pace
from logplex.drains.delivery.states import Phase
from logplex.drains.kinds.udp import UdpCourier, udp_pace
from logplex.drains.network.errors import DestinationDenied
from logplex.drains.network.guard import Guard
from logplex.metrics import Counters
from logplex.model.destination import UdpDestination
from logplex.settings import DrainSettings
from tests.doubles.interfaces import as_reactor
from tests.doubles.receivers import MiddleRandom
from tests.doubles.resolver import ScriptedNames

NOW = datetime(2026, 11, 22, 16, tzinfo=UTC).timestamp()


class Port:
    """A UDP port without a network."""

    def __init__(self, protocol: Any, interface: str) -> None:
        self.protocol = protocol
        self.interface = interface
        self.peer: tuple[str, int] | None = None
        self.sent: list[bytes] = []
        #: What the next writes come to.
        self.failures: list[Exception | None] = []
        self.closed = False
        protocol.transport = self

    def connect(self, host: str, port: int) -> None:
        if host == "192.0.2.99":
            raise OSError(ENETUNREACH, "Network is unreachable")
        self.peer = (host, port)

    def write(self, datagram: bytes) -> None:
        failure = self.failures.pop(0) if self.failures else None
        if isinstance(failure, OSError) and failure.errno == ECONNREFUSED:
            self.protocol.connectionRefused()
        if failure is not None:
            raise failure
        self.sent.append(datagram)

    def stopListening(self) -> None:
        self.closed = True


class UdpReactor(Clock):
    def __init__(self) -> None:
        super().__init__()
        self.ports: list[Port] = []

    def listenUDP(self, port: int, protocol: Any, interface: str, maxPacketSize: int) -> Port:
        assert port == 0
        self.ports.append(Port(protocol, interface))
        return self.ports[-1]


def message(number: int) -> bytes:
    return b"<190>1 2026-11-22T15:59:59+00:00 web-7 app web.1 id - number %d\n" % number


def datagram(number: int) -> bytes:
    return b"<190>1 2026-11-22T15:59:59+00:00 d.0815 app web.1 - - number %d\n" % number


class UdpCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = UdpReactor()
        self.reactor.advance(NOW)
        self.buffer = Buffer(self.reactor, Counters(), 1_024, lambda _: None)
        self.names = ScriptedNames()
        self.names.addresses = ["192.0.2.1"]
        self.outcome = Outcome()
        url = "syslog+udp://logs.example:514"

        def make_courier(reports: Reports) -> tuple[Courier[Any], Pace]:
            courier = UdpCourier(
                destination=UdpDestination("syslog+udp", "logs.example", 514, url, url),
                drain_token=b"d.0815",
                buffer=self.buffer,
                backoff=Backoff(DrainSettings(), self.outcome, self.reactor, MiddleRandom()),
                reports=reports,
                resolver=self.names.of("app"),
                guard=Guard(["10.0.0.0/8"]),
                reactor=as_reactor(self.reactor),
            )
            return courier, udp_pace(DrainSettings(), Linger(0.05, 0.05))

        self.refusals: list[BaseException | None] = []
        self.life = Lifecycle(
            make_courier,
            self.buffer,
            self.reactor,
            MiddleRandom(),
            lambda why: self.refusals.append(why.value),
        )
        self.buffer.wake = self.life.offer
        self.pushed = 0

    def tearDown(self) -> None:
        buffer = self.buffer
        self.assertEqual(buffer.received, buffer.delivered + buffer.dropped + buffer.buffered)

    def push(self, count: int = 1) -> None:
        first = self.pushed + 1
        self.pushed += count
        self.buffer.push([message(number) for number in range(first, first + count)])
        self.reactor.advance(0)

    @property
    def port(self) -> Port:
        return self.reactor.ports[-1]


class Sending(UdpCase):
    def test_datagrams(self) -> None:
        """One message a datagram, without length, as it ended."""
        self.push(3)
        self.assertEqual(self.port.peer, ("192.0.2.1", 514))
        self.assertEqual(self.port.sent, [datagram(1), datagram(2), datagram(3)])
        self.assertEqual(self.buffer.delivered, 3)
        self.assertIs(self.life.phase, Phase.CONNECTED)

    def test_many(self) -> None:
        """A full buffer leaves, in order."""
        self.push(1_024)
        self.reactor.pump([0.05] * 10)
        self.assertEqual(self.port.sent, [datagram(number) for number in range(1, 1_025)])

    def test_loss(self) -> None:
        """Losses are told first."""
        self.push(1_025)
        self.assertEqual(
            self.port.sent[0],
            b"<172>1 2026-11-22T16:00:00.000000+00:00 d.0815 heroku logplex - - Error L10 "
            b"(output buffer overflow): 1 messages dropped "
            b"since 2026-11-22T16:00:00.000000+00:00.",
        )

    def test_ipv6(self) -> None:
        self.names.addresses = ["2001:db8::1"]
        self.push()
        self.assertEqual((self.port.peer, self.port.interface), (("2001:db8::1", 514), "::"))

    def test_idle(self) -> None:
        """The socket is closed when it is not used, and the name looked up again after that."""
        self.push()
        self.names.addresses = ["192.0.2.2"]
        self.reactor.advance(240 + 8)
        self.assertTrue(self.port.closed)
        self.push()
        self.assertEqual(self.port.peer, ("192.0.2.2", 514))

    def test_busy(self) -> None:
        """A name is looked up again every five minutes: no error tells that it has moved."""
        for _ in range(310):
            self.push()
            self.reactor.advance(1)
        self.assertEqual(len(self.reactor.ports), 2)
        self.assertTrue(self.reactor.ports[0].closed)
        self.assertEqual(self.buffer.delivered, 310)

    def test_stop(self) -> None:
        self.push()
        self.buffer.push([message(2)])
        self.successResultOf(self.life.stop(5))
        self.assertEqual(self.port.sent[-1], datagram(2))
        self.assertTrue(self.port.closed)


class Failing(UdpCase):
    def one_is_too_long(self) -> None:
        """The first message arrives; a second later, the next one is too long."""
        self.push()
        self.reactor.advance(1)
        self.port.failures = [MessageLengthError(EMSGSIZE)]
        self.push()

    def test_name(self) -> None:
        """A name without addresses is a failure: 2 s, 4 s, …"""
        self.names.failure = OSError("no such host")
        self.push()
        self.assertEqual(self.life.next_attempt, self.reactor.seconds() + 2)
        self.reactor.advance(2)
        self.assertEqual(self.life.next_attempt, self.reactor.seconds() + 4)
        self.names.failure = None
        self.reactor.advance(4)
        self.assertEqual(self.port.sent, [datagram(1)])

    def test_denied(self) -> None:
        """Denied addresses get nothing."""
        self.names.addresses = ["10.0.0.1", "::ffff:10.0.0.1"]
        self.push()
        self.assertEqual(self.reactor.ports, [])
        self.assertIsInstance(self.refusals[0], DestinationDenied)

    def test_some_denied(self) -> None:
        self.names.addresses = ["10.0.0.1", "192.0.2.1"]
        self.push()
        self.assertEqual(self.port.peer, ("192.0.2.1", 514))

    def test_no_route(self) -> None:
        self.names.addresses = ["192.0.2.99"]
        self.push()
        self.assertTrue(self.port.closed)
        self.assertIs(self.life.phase, Phase.WAITING)

    def test_no_program_listens(self) -> None:
        """An error about an earlier datagram is a failure; the next datagram waits."""
        self.push()
        self.port.protocol.connectionRefused()
        self.assertTrue(self.port.closed)
        self.assertIn("no program listens", str(self.outcome.last_error))
        self.push()
        self.assertEqual(len(self.reactor.ports), 1)
        self.reactor.advance(2)
        self.assertEqual(self.port.sent, [datagram(2)])

    def test_no_program_listens_while_sending(self) -> None:
        """Datagrams that could not be sent wait, in order."""
        self.push()
        self.reactor.advance(1)
        self.port.failures = [None, OSError(ECONNREFUSED, "ReceiverConnection refused")]
        self.push(3)
        self.assertEqual(self.buffer.buffered, 2)
        self.reactor.advance(2)
        self.assertEqual(self.port.sent, [datagram(3), datagram(4)])

    def test_unreachable(self) -> None:
        self.push()
        self.reactor.advance(1)
        self.port.failures = [OSError(ENETUNREACH, "Network is unreachable")]
        self.push()
        self.assertEqual(self.outcome.last_error, "cannot send: Network is unreachable")
        self.assertEqual(self.buffer.buffered, 1)

    def test_too_long(self) -> None:
        """A message that is too long for the way is lost, and only that one."""
        self.push()
        self.reactor.advance(1)
        self.port.failures = [MessageLengthError(EMSGSIZE)]
        self.push(2)
        self.assertEqual(self.port.sent, [datagram(1), datagram(3)])
        self.assertEqual((self.buffer.delivered, self.buffer.dropped), (2, 1))

    def test_too_long_is_shown(self) -> None:
        """The owner sees why a message was lost; the messages after it do not wait for that."""
        self.one_is_too_long()
        size = len(datagram(2))
        self.assertEqual(self.outcome.last_error, f"{size} bytes are too long for a datagram")
        self.assertEqual(self.outcome.last_error_at, self.reactor.seconds())
        self.assertIs(self.life.phase, Phase.CONNECTED)

    def test_too_long_is_no_success(self) -> None:
        """If there was only such a message, the receiver has got nothing."""
        self.one_is_too_long()
        self.assertEqual(self.outcome.last_success, self.reactor.seconds() - 1)

    def test_loss_not_told(self) -> None:
        """A notice that could not be sent is sent later."""
        self.push()
        self.reactor.advance(1)
        self.port.failures = [OSError(ENETUNREACH, "Network is unreachable")]
        self.push(1_025)
        loss = self.buffer.loss
        assert loss is not None
        self.assertEqual(loss.count, 1)

    def test_after_the_end(self) -> None:
        """A socket that is closed says nothing any more."""
        self.push()
        port = self.port
        self.successResultOf(self.life.stop(5))
        port.protocol.connectionRefused()
        self.assertIs(self.life.phase, Phase.STOPPED)
