# SPDX-License-Identifier: Apache-2.0

"""The owner's view of a drain: its status, and the result of a test message."""

from __future__ import annotations

from attrs import evolve
from OpenSSL import SSL
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from logplex.drains.network.errors import DestinationDenied, explain, printable
from logplex.interfaces import DrainStatus, DrainTest, IDrains
from tests.doubles.http_drain import OK, Request, answer
from tests.doubles.stream_drain import NOW
from tests.drains.test_service import DRAIN, ServiceCase, message


class Status(ServiceCase):
    def status(self) -> DrainStatus:
        status = self.service.status(1)
        assert status is not None
        return status

    def test_interface(self) -> None:
        verifyObject(IDrains, self.service)

    def test_unknown(self) -> None:
        self.assertIsNone(self.service.status(99))

    def test_reserved(self) -> None:
        self.put(evolve(DRAIN, url=None))
        self.assertEqual(self.status(), DrainStatus("reserved"))

    def test_unusable(self) -> None:
        """A URL that cannot be a drain's: the reason is there, the URL is not."""
        self.put(evolve(DRAIN, url="http://user:secret@host:port/"))
        status = self.status()
        self.assertEqual(status.state, "unusable")
        self.assertIn("the port", str(status.last_error))
        self.put(DRAIN)
        self.assertEqual(self.status().state, "resting")

    def test_well(self) -> None:
        self.put(DRAIN)
        self.push(3)
        link = self.receiver("one").accept()
        self.assertEqual(self.status().state, "sending")
        self.assertEqual(self.status().buffered, 3)
        link.say(OK)
        self.assertEqual(
            self.status(),
            DrainStatus("connected", 3, delivered=3, guaranteed=1_024, last_success=NOW),
        )

    def test_holding(self) -> None:
        """The status shows what a drain holds and how old its oldest message is."""
        self.put(DRAIN)
        self.push(1_000)
        self.clock.advance(10)
        self.push(100)
        self.clock.advance(5)
        status = self.status()
        self.assertEqual((status.buffered, status.guaranteed), (1_100, 1_024))
        self.assertEqual(status.buffered_beyond_bytes, 76 * len(message(1_100)))
        self.assertEqual(status.oldest_buffered_s, 15.0)
        self.assertEqual(
            self.samples("logplex_drains_shared_buffer_bytes"),
            {"": float(status.buffered_beyond_bytes)},
        )
        self.receiver("one").accept().say(OK)
        self.assertEqual(self.status().buffered_beyond_bytes, 0)

    def test_failing(self) -> None:
        """The status shows the error, its time, and the time of the next attempt."""
        self.put(DRAIN)
        self.push()
        self.receiver("one").accept().say(answer(500))
        self.assertEqual(
            self.status(),
            DrainStatus(
                "waiting",
                received=1,
                buffered=1,
                guaranteed=1_024,
                oldest_buffered_s=0.0,
                last_error="the receiver answered 500",
                last_error_at=NOW,
                since=NOW,
                next_attempt=NOW + 0.25,
            ),
        )

    def test_failing_for_a_while(self) -> None:
        """It fails since the first failure, and no longer once it has delivered."""
        self.put(DRAIN)
        self.push()
        for wait_s in (0.25, 1.0):
            self.receiver("one").accept().say(answer(500))
            self.assertEqual(self.status().since, NOW)
            self.clock.advance(wait_s)
        self.receiver("one").accept().say(OK)
        self.assertIsNone(self.status().since)

    def test_deleted(self) -> None:
        self.put(DRAIN)
        self.delete(DRAIN)
        self.assertIsNone(self.service.status(1))


class Testing(ServiceCase):
    """A test message takes the way of the drain's messages, and disturbs none of them."""

    def setUp(self) -> None:
        super().setUp()
        self.put(DRAIN)

    def test_delivered(self) -> None:
        result = self.service.test(1)
        link = self.receiver("one").accept()
        request = Request(link.received())
        self.assertEqual(request.headers[b"logplex-drain-token"], b"d.1")
        self.assertTrue(request.body.endswith(b" host heroku logplex - Test message of Logplex\n"))
        link.say(OK)
        self.assertEqual(
            self.successResultOf(result), DrainTest(delivered=True, status=200, said="ok")
        )
        self.assertTrue(link.closed)
        self.assertEqual(self.service.status(1), DrainStatus("resting", guaranteed=1_024))
        self.assertEqual(self.counters.drain_delivered, 0)

    def test_refused(self) -> None:
        """The printable part of the receiver's answer is shown, up to a bound."""
        result = self.service.test(1)
        body = b"no such\x00\x1b[31m token " + b"x" * 500
        link = self.receiver("one").accept()
        link.say(b"HTTP/1.1 401 No\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        outcome = self.successResultOf(result)
        self.assertEqual((outcome.delivered, outcome.status), (False, 401))
        self.assertEqual(outcome.error, "the receiver answered 401")
        self.assertTrue(outcome.said.startswith("no such  [31m token xxx"))
        self.assertEqual(len(outcome.said), 200)

    def test_one_try(self) -> None:
        """A test is not tried again."""
        result = self.service.test(1)
        self.receiver("one").accept().say(answer(503))
        self.assertEqual(self.successResultOf(result).status, 503)
        self.clock.advance(60)
        self.assertEqual(len(self.receiver("one").attempts), 1)

    def test_no_connection(self) -> None:
        for reason, shown in (
            (ConnectionRefusedError(), ""),
            (DestinationDenied(), "the host has an address that drains may not connect to"),
        ):
            result = self.service.test(1)
            self.receiver("one").refuse(reason)
            outcome = self.successResultOf(result)
            self.assertFalse(outcome.delivered)
            self.assertIn(shown, str(outcome.error))

    def test_connection_hangs(self) -> None:
        """Within 10 s there is an outcome."""
        result = self.service.test(1)
        self.clock.advance(9.9)
        self.assertNoResult(result)
        self.clock.advance(0.1)
        self.assertEqual(
            self.successResultOf(result), DrainTest(delivered=False, error="it took too long")
        )

    def test_silence(self) -> None:
        result = self.service.test(1)
        link = self.receiver("one").accept()
        self.clock.advance(5)
        self.assertEqual(self.successResultOf(result).error, "no whole answer within 5 s")
        self.assertTrue(link.closed)

    def test_one_at_a_time(self) -> None:
        first = self.service.test(1)
        second = self.successResultOf(self.service.test(1))
        self.assertEqual(second.error, "another test is under way")
        self.receiver("one").accept().say(OK)
        self.assertTrue(self.successResultOf(first).delivered)
        self.service.test(1)
        self.assertEqual(len(self.receiver("one").attempts), 2)

    def test_beside_its_messages(self) -> None:
        """A drain that is busy is tested over a connection of the test's own."""
        self.push(3)
        own = self.receiver("one").accept()
        result = self.service.test(1)
        self.receiver("one").accept().say(OK)
        self.assertTrue(self.successResultOf(result).delivered)
        own.say(OK)
        self.assertEqual(self.counters.drain_delivered, 3)

    def test_syslog(self) -> None:
        """There is no answer over TCP: delivered means that the kernel took it."""
        self.put(evolve(DRAIN, url="syslog://one.example:80"))
        result = self.service.test(1)
        link = self.receiver("one").accept()
        self.assertIn(b" d.1 heroku logplex - - Test message of Logplex\n", link.received())
        link.transport.producer.resumeProducing()
        self.assertEqual(self.successResultOf(result), DrainTest(delivered=True))

    def test_not_running(self) -> None:
        self.put(evolve(DRAIN, url=None))
        outcome = self.successResultOf(self.service.test(1))
        self.assertEqual(outcome.error, "the drain is not running")


class Reasons(SynchronousTestCase):
    def test_timeout(self) -> None:
        self.assertEqual(explain(Failure(DeferredTimeout(3.0, "Deferred"))), "it took too long")

    def test_tls(self) -> None:
        reason = SSL.Error([("SSL routines", "", "wrong version number")])
        self.assertEqual(explain(Failure(reason)), "TLS: wrong version number")
        self.assertEqual(explain(Failure(SSL.ZeroReturnError())), "ZeroReturnError")

    def test_others(self) -> None:
        self.assertIn("lost", explain(Failure(ConnectionLost())))

    def test_printable(self) -> None:
        self.assertEqual(printable(b"a\r\nb\xff\x1b"), "a  b\ufffd ")
