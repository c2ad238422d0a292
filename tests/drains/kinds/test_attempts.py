# SPDX-License-Identifier: Apache-2.0

"""The attempts of all drains: a bound for the node, and one verdict for each receiver."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from logplex.drains.delivery.courier import Postponed, ReceiverAway
from logplex.drains.kinds.attempts import Attempts
from logplex.drains.kinds.stream import StreamConnection
from logplex.drains.network.errors import CertificateRejected, DestinationDenied, explain
from tests.doubles.receivers import MiddleRandom, ScriptedEndpoint


class Drain:
    """Remembers when it was told to connect."""

    def __init__(self) -> None:
        self.told: list[float] = []

    def finished(self, at_once: bool = False) -> None: ...

    def over(self, delay_s: float = 0.0) -> None: ...

    def reachable(self, delay_s: float) -> None:
        self.told.append(delay_s)


class AttemptsCase(SynchronousTestCase):
    per_s = 1_000.0

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.attempts = Attempts(self.per_s, 3.0, self.clock, MiddleRandom(1))
        self.endpoint = ScriptedEndpoint()
        self.drains: list[Drain] = []

    def drain(self, host: str = "shared.example") -> Deferred[IProtocol]:
        """Let another drain connect."""
        drain = Drain()
        self.drains.append(drain)
        endpoint = self.attempts.endpoint(self.endpoint, (host, 80, ""), drain)
        return endpoint.connect(Factory.forProtocol(Protocol))

    def refuse(self, count: int = 1) -> None:
        """Let a number of drains find out, one after another, that the receiver refuses."""
        for _ in range(count):
            attempt = self.drain()
            self.endpoint.refuse()
            self.failureResultOf(attempt, ConnectionRefusedError)
            self.clock.advance(4)

    def away(self, attempt: Deferred[IProtocol]) -> ReceiverAway:
        reason = self.failureResultOf(attempt, ReceiverAway).value
        assert isinstance(reason, ReceiverAway)
        return reason


class Verdicts(AttemptsCase):
    def test_there(self) -> None:
        """Drains of a receiver that is there connect side by side."""
        first = self.drain()
        self.endpoint.accept()
        self.successResultOf(first)
        for _ in range(9):
            self.assertNoResult(self.drain())
        self.assertEqual(len(self.endpoint.attempts), 10)

    def test_alone(self) -> None:
        """The first two failures of a receiver cause no wait."""
        for _ in range(3):
            attempt = self.drain()
            self.endpoint.refuse()
            self.failureResultOf(attempt, ConnectionRefusedError)
            self.clock.advance(0.001)
        self.away(self.drain())

    def test_shared(self) -> None:
        """The others do not try, and have the same reason."""
        self.refuse(10)
        self.assertNoResult(self.drain())
        reason = self.away(self.drain())
        self.assertIn("refused", str(reason))
        self.assertEqual(len(self.endpoint.attempts), 11)
        self.assertTrue(10 <= reason.delay_s <= 30)

    def test_tried_again(self) -> None:
        """One drain tries again after 1 s at most."""
        self.refuse(20)
        attempt = self.drain()
        self.endpoint.refuse()
        self.failureResultOf(attempt, ConnectionRefusedError)
        self.clock.advance(0.7)
        self.away(self.drain())
        self.clock.advance(0.3)
        self.assertNoResult(self.drain())

    def test_alone_for_long(self) -> None:
        """A drain that is alone tries again within a second, however often it has failed."""
        self.refuse(20)
        scout = self.drains[-1]
        endpoint = self.attempts.endpoint(self.endpoint, ("shared.example", 80, ""), scout)
        for _ in range(5):
            attempt = endpoint.connect(Factory.forProtocol(Protocol))
            self.endpoint.refuse()
            self.failureResultOf(attempt, ConnectionRefusedError)
            early = endpoint.connect(Factory.forProtocol(Protocol))
            reason = self.failureResultOf(early, Postponed).value
            assert isinstance(reason, Postponed)
            self.assertTrue(0 < reason.delay_s <= 1)
            self.away(self.drain())
            self.clock.advance(reason.delay_s)

    def test_told(self) -> None:
        """When it is there again, the drains that wait connect, one after another."""
        self.refuse(10)
        probing = self.drain()
        for _ in range(3):
            self.away(self.drain())
        self.endpoint.accept()
        self.successResultOf(probing)
        told = sorted(delay for drain in self.drains for delay in drain.told)
        self.assertEqual(told, [0.0, 0.001, 0.002])
        self.assertNoResult(self.drain())

    def test_told_once(self) -> None:
        self.refuse(10)
        probing = self.drain()
        self.away(self.drain())
        self.endpoint.accept()
        self.successResultOf(probing)
        self.drain()
        self.endpoint.accept()
        self.assertEqual([len(drain.told) for drain in self.drains].count(1), 1)

    def test_other_receivers(self) -> None:
        self.refuse(10)
        self.drain()
        self.away(self.drain())
        self.assertNoResult(self.drain("other.example"))

    def test_unknown(self) -> None:
        """A receiver that no drain has reached yet is tried by a few drains only."""
        for _ in range(8):
            self.assertNoResult(self.drain())
        waiting = self.failureResultOf(self.drain(), Postponed).value
        assert isinstance(waiting, Postponed)
        self.assertTrue(3 <= waiting.delay_s <= 6)
        self.endpoint.accept()
        self.assertEqual(self.drains[-1].told, [0.0])

    def test_timeout(self) -> None:
        """An attempt that is given up after its time has failed; before, it says nothing."""
        for seconds in (2.9, 3.0):
            attempt = self.drain()
            self.clock.advance(seconds)
            attempt.cancel()
            self.failureResultOf(attempt, CancelledError)
        receiver = self.attempts.receiver(("shared.example", 80, ""))
        assert receiver.cause is not None
        self.assertEqual((receiver.failures, explain(receiver.cause)), (1, "it took too long"))
        self.assertEqual(receiver.trying, 0)

    def test_denied(self) -> None:
        """An address that is denied is not away."""
        for _ in range(5):
            attempt = self.drain()
            self.endpoint.refuse(DestinationDenied())
            self.failureResultOf(attempt, DestinationDenied)
            self.clock.advance(1)

    def test_late_failure(self) -> None:
        """A failure of an attempt that began before a success means nothing."""
        self.drain()
        late = self.endpoint.attempts[-1]
        self.drain().addErrback(lambda _: None)
        self.clock.advance(1)
        self.endpoint.accept()
        late.result.addErrback(lambda _: None)
        late.refuse()
        self.assertTrue(self.attempts.receiver(("shared.example", 80, "")).there)

    def test_bound_of_memory(self) -> None:
        for number in range(20_001):
            self.attempts.receiver((f"host-{number}", 80, ""))
        self.assertEqual(len(self.attempts._receivers), 1)


class Handshakes(AttemptsCase):
    """Over TLS a receiver is there when the handshake is done."""

    def shake(self) -> tuple[Deferred[IProtocol], StreamConnection]:
        drain = Drain()
        self.drains.append(drain)
        factory = Factory()
        connection = StreamConnection(self.clock, tls=True)
        factory.buildProtocol = lambda addr: connection  # type: ignore[method-assign]
        endpoint = self.attempts.endpoint(self.endpoint, ("h", 443, "verified"), drain)
        attempt = endpoint.connect(factory)
        if not attempt.called:
            self.endpoint.accept()
        return attempt, connection

    def reject(self, connection: StreamConnection) -> None:
        assert connection.secured is not None
        connection.secured.addErrback(lambda _: None)
        connection.connectionLost(Failure(CertificateRejected("certificate has expired")))

    def test_rejected(self) -> None:
        """A certificate that one drain rejects is rejected for all that verify it."""
        for _ in range(10):
            self.reject(self.shake()[1])
            self.clock.advance(4)
        self.shake()
        cause = self.away(self.shake()[0]).cause
        self.assertIsInstance(cause.value, CertificateRejected)
        insecure = self.attempts.endpoint(self.endpoint, ("h", 443, "insecure"), Drain())
        self.assertNoResult(insecure.connect(Factory.forProtocol(Protocol)))

    def test_good(self) -> None:
        """The drains that wait are told after the handshake, not before."""
        for _ in range(10):
            self.reject(self.shake()[1])
            self.clock.advance(4)
        _, connection = self.shake()
        self.away(self.shake()[0])
        self.assertEqual(self.drains[-1].told, [])
        connection.handshakeCompleted()
        self.assertEqual(self.drains[-1].told, [0.0])


class Bound(AttemptsCase):
    per_s = 10.0

    def test_turns(self) -> None:
        """Attempts beyond the bound wait for their turns, in order."""
        waits = []
        for number in range(5):
            attempt = self.drain(f"host-{number}")
            if attempt.called:
                reason = self.failureResultOf(attempt, Postponed).value
                assert isinstance(reason, Postponed)
                waits.append(round(reason.delay_s, 3))
        self.assertEqual(len(self.endpoint.attempts) + len(waits), 5)
        self.assertEqual(waits, sorted(waits))
        self.assertAlmostEqual(waits[-1] - waits[0], 0.1 * (len(waits) - 1))
        self.assertEqual(self.attempts.postponed, len(waits))

    def test_turn_comes(self) -> None:
        """A drain that comes back at its turn connects; one that comes earlier waits on."""
        for number in range(5):
            self.drain(f"host-{number}").addErrback(lambda _: None)
        endpoint = self.attempts.endpoint(self.endpoint, ("last.example", 80, ""), Drain())
        factory = Factory.forProtocol(Protocol)
        reason = self.failureResultOf(endpoint.connect(factory), Postponed).value
        assert isinstance(reason, Postponed)
        self.clock.advance(reason.delay_s / 2)
        self.failureResultOf(endpoint.connect(factory), Postponed)
        self.clock.advance(reason.delay_s / 2 + 0.001)
        self.assertNoResult(endpoint.connect(factory))
