# SPDX-License-Identifier: Apache-2.0

"""HTTP drains: what a request looks like, and how messages become batches."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.error import ConnectionLost

from logplex import __version__
from logplex.drains.delivery.states import Phase
from logplex.drains.network.errors import CertificateRejected
from logplex.settings import DrainSettings
from tests.doubles.http_drain import OK, HttpCase, Request, frame


class Requests(HttpCase):
    """The bytes of a request."""

    url = "https://us%20er:pa%40ss@receiver.example:8080/logs?key=a"

    def setUp(self) -> None:
        super().setUp()
        self.push(2)
        self.clock.advance(0)

    def test_request(self) -> None:
        """Line, headers and body are as receivers know them."""
        link = self.endpoint.accept()
        link.protocol.handshakeCompleted()  # type: ignore[attr-defined]
        request = Request(link.received())
        self.assertEqual(request.head.method, b"POST")
        self.assertEqual(request.head.target, b"/logs?key=a")
        self.assertEqual(request.headers[b"host"], b"receiver.example:8080")
        self.assertEqual(request.headers[b"content-type"], b"application/logplex-1")
        self.assertEqual(request.headers[b"logplex-msg-count"], b"2")
        self.assertEqual(request.headers[b"logplex-drain-token"], b"d.0815")
        self.assertEqual(request.headers[b"user-agent"], f"Logplex/{__version__}".encode())
        self.assertEqual(request.headers[b"authorization"], b"Basic dXMgZXI6cGFAc3M=")
        self.assertRegex(request.frame_id, rb"\A[0-9A-F]{32}\Z")
        self.assertEqual(request.body, frame(1) + frame(2))

    def test_waits_for_tls(self) -> None:
        """Over TLS nothing is sent before certificate and name are verified."""
        link = self.endpoint.accept()
        self.assertIs(self.life.phase, Phase.CONNECTING)
        self.assertEqual(link.received(), b"")

    def test_tls_fails(self) -> None:
        """A handshake that fails is a connection that could not be made."""
        link = self.endpoint.accept()
        link.lose(ConnectionLost("certificate verify failed"))
        self.assertIs(self.life.phase, Phase.WAITING)
        self.assertIn("certificate verify failed", str(self.outcome.last_error))
        self.assert_counts(0, 0)

    def test_tls_rejected(self) -> None:
        """A receiver without a valid certificate gets no message."""
        link = self.endpoint.accept()
        link.lose(CertificateRejected("certificate has expired"))
        self.assertEqual(self.outcome.last_error, "no connection: certificate has expired")
        self.assertEqual(link.received(), b"")

    def test_tls_hangs(self) -> None:
        """The handshake is within the time for the connection."""
        link = self.endpoint.accept()
        self.clock.advance(2.999)
        self.assertFalse(link.closed)
        self.clock.advance(0.001)
        self.assertTrue(link.closed)
        self.assertEqual(len(self.endpoint.attempts), 2)
        link.lose()


class Batches(HttpCase):
    """The messages of a request, and its time."""

    options = evolve(DrainSettings(), http_batch_messages=10, http_batch_bytes=1_000)

    def test_first(self) -> None:
        """The first message leaves at once."""
        self.assertEqual(Request(self.connected().received()).body, frame(1))

    def test_messages(self) -> None:
        """A batch has a bound on messages; the remaining ones follow at once."""
        link = self.connected(12)
        self.assertEqual(Request(link.received()).count, 10)
        link.say(OK)
        self.assertEqual(Request(link.received()).count, 2)

    def test_bytes(self) -> None:
        """A batch has a bound on bytes."""
        link = self.connected()
        link.say(OK)
        link.received()
        self.push(5, size=300)
        self.clock.advance(0.05)
        request = Request(link.received())
        self.assertEqual(request.count, 2)
        self.assertLessEqual(len(request.body), 1_000)

    def test_larger_message(self) -> None:
        """A message that is larger than a batch goes alone."""
        self.push(size=5_000)
        self.assertEqual(Request(self.connected(3).received()).count, 1)

    def test_linger(self) -> None:
        """While a drain is busy a batch leaves every 50 ms."""
        link = self.connected()
        link.say(OK)
        self.assertEqual(Request(link.received()).count, 1)
        self.push(3)
        self.clock.advance(0.049)
        self.assertEqual(link.received(), b"")
        self.push(3)
        self.clock.advance(0.0011)
        self.assertEqual(Request(link.received()).count, 6)

    def test_full_before_its_time(self) -> None:
        link = self.connected()
        self.push(9)
        link.say(OK)
        link.received()
        self.push()
        self.assertEqual(Request(link.received()).count, 10)

    def test_quiet_moment(self) -> None:
        """After a quiet moment there is no linger."""
        link = self.connected()
        link.say(OK)
        link.received()
        self.clock.advance(0.05)
        self.push()
        self.clock.advance(0)
        self.assertEqual(Request(link.received()).body, frame(2))

    def test_unparsable(self) -> None:
        """Bytes that are not a message are left out and counted, and are no overflow."""
        self.buffer.push([b"<42> blafasel"])
        link = self.connected()
        self.assertEqual(Request(link.received()).body, frame(1))
        link.say(OK)
        self.assert_counts(1, 1)
        self.assertEqual(self.buffer.unparsable, 1)
        self.assertIsNone(self.buffer.loss)

    def test_only_unparsable(self) -> None:
        """If nothing is left, no request is made."""
        self.buffer.push([b"<42> blafasel"])
        self.clock.advance(0)
        link = self.endpoint.accept()
        self.assertEqual(link.received(), b"")
        self.assertIs(self.life.phase, Phase.CONNECTED)

    def test_in_order_over_one_connection(self) -> None:
        """Everything arrives once, in order."""
        link = self.connected(100)
        bodies = []
        while octets := link.received():
            bodies.append(Request(octets).body)
            link.say(OK)
            self.clock.advance(0.05)
        self.assertEqual(b"".join(bodies), b"".join(map(frame, range(1, 101))))
        self.assertEqual(len(self.endpoint.attempts), 1)
        self.assert_counts(100, 0)
