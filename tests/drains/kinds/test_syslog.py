# SPDX-License-Identifier: Apache-2.0

"""Syslog drains over TCP and TLS: every rule for pieces, failures and times."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from logplex.drains.delivery.courier import Courier, Reports
from logplex.drains.delivery.pace import Backoff, Linger, Pace
from logplex.drains.delivery.states import Phase
from logplex.drains.kinds.syslog import SyslogConnection, SyslogCourier, syslog_pace
from logplex.drains.network.errors import CertificateRejected
from logplex.model.destination import SyslogDestination
from logplex.settings import DrainSettings
from tests.doubles.receivers import HighRandom, Link
from tests.doubles.stream_drain import NOW, StreamDrainCase


def frame(number: int, size: int = 0) -> bytes:
    body = b"<190>1 2026-11-22T15:59:59+00:00 d.0815 app web.1 - - number %d%b\n" % (
        number,
        b"x" * size,
    )
    return b"%d %b" % (len(body), body)


class SyslogCase(StreamDrainCase):
    """A drain with everything but a network."""

    tls = False

    def make_courier(self, reports: Reports) -> tuple[Courier[Any], Pace]:
        scheme, port = ("syslog+tls", 6514) if self.tls else ("syslog", 601)
        url = f"{scheme}://logs.example:{port}"
        self.courier = SyslogCourier(
            destination=SyslogDestination(scheme, "logs.example", port, url, url, self.tls, True),
            drain_token=b"d.0815",
            buffer=self.buffer,
            backoff=Backoff(self.options, self.outcome, self.clock, self.random),
            reports=reports,
            settings=self.options,
            endpoint=self.endpoint,
            clock=self.clock,
        )
        return self.courier, syslog_pace(self.options, Linger(0.05, 0.05))

    def take(self, link: Link) -> bytes:
        """The kernel takes what was written."""
        octets = link.received()
        link.transport.producer.resumeProducing()
        return octets

    def assert_next_after(self, seconds: float) -> None:
        """Assert that the next connection is tried after this time."""
        before = len(self.endpoint.attempts)
        self.clock.advance(seconds - 0.01)
        self.assertEqual(len(self.endpoint.attempts), before)
        self.clock.advance(0.02)
        self.assertEqual(len(self.endpoint.attempts), before + 1)


class Pieces(SyslogCase):
    def test_frame(self) -> None:
        """The drain's token stands in the host's place, and the message gets an LF."""
        self.assertEqual(self.connected().received(), frame(1))

    def test_delivered(self) -> None:
        """Messages that the kernel has taken are delivered."""
        link = self.connected(3)
        self.assertEqual(self.buffer.delivered, 0)
        self.take(link)
        self.assertEqual(self.buffer.delivered, 3)
        self.assertIs(self.life.phase, Phase.CONNECTED)
        self.assertEqual(self.outcome.last_success, NOW)

    def test_pieces(self) -> None:
        """More than a piece is written piece by piece, as the kernel takes them, without wait."""
        link = self.connected(200)
        octets = b""
        while piece := self.take(link):
            octets += piece
        self.assertEqual(octets, b"".join(map(frame, range(1, 201))))
        self.assertEqual(self.buffer.delivered, 200)
        self.assertEqual(len(self.endpoint.attempts), 1)

    def sizes(self, link: Link, count: int, delay_s: float = 0.0) -> list[int]:
        """Return the sizes of pieces, in usual ones, if the kernel takes each after this time."""
        sizes = []
        for _ in range(count):
            self.clock.advance(delay_s)
            sizes.append(round(len(self.take(link)) / self.options.syslog_piece_bytes))
        return sizes

    def test_growth(self) -> None:
        """While more waits and the kernel takes each piece at once, pieces become larger."""
        self.assertEqual(self.sizes(self.connected(1_000), 4), [1, 2, 4, 8])

    def test_growth_ends(self) -> None:
        """At 16 times the usual size; and a drain that has caught up begins anew."""
        self.push(1_000, size=200)
        link = self.connected()
        self.assertEqual(self.sizes(link, 6), [1, 2, 4, 8, 16, 16])
        while self.take(link):
            pass
        self.push(200)
        self.clock.advance(0.05)
        self.assertEqual(self.sizes(link, 2), [1, 2])

    def test_no_growth_for_the_slow(self) -> None:
        """The part that a slow receiver may see twice stays small."""
        link = self.connected(1_000)
        self.assertEqual(self.sizes(link, 3), [1, 2, 4])
        self.assertEqual(self.sizes(link, 3, delay_s=0.06), [8, 1, 1])

    def test_growth_over_a_new_connection(self) -> None:
        """The piece that is sent again is as large as it was; then growth begins anew."""
        self.push(1_000, size=200)
        link = self.connected()
        self.assertEqual(self.sizes(link, 3), [1, 2, 4])
        link.lose()
        self.clock.advance(2)
        self.assertEqual(self.sizes(self.endpoint.accept(), 3), [8, 2, 4])

    def test_large_message(self) -> None:
        """A message that is larger than a piece goes alone."""
        self.push(size=9_000)
        link = self.connected()
        self.assertEqual(self.take(link), frame(1, size=9_000))
        self.assertEqual(self.take(link), frame(2))

    def test_linger(self) -> None:
        """While a drain is busy messages gather for 50 ms, or until there are many."""
        link = self.connected()
        self.take(link)
        self.push()
        self.clock.advance(0.049)
        self.assertEqual(link.received(), b"")
        self.clock.advance(0.0011)
        self.assertEqual(self.take(link), frame(2))
        self.push(127)
        self.assertEqual(link.received(), b"")
        self.push()
        self.clock.advance(0)
        self.assertTrue(link.received())

    def test_unparsable(self) -> None:
        self.buffer.push([b"<42> blafasel"])
        link = self.connected()
        self.assertEqual(self.take(link), frame(1))
        self.assertEqual((self.buffer.delivered, self.buffer.unparsable), (1, 1))

    def test_transport_is_paced(self) -> None:
        """The transport asks when its buffer is empty, and its producer is gone before it is
        closed."""
        link = self.connected()
        self.assertFalse(link.transport.streaming)
        self.take(link)
        self.successResultOf(self.life.stop(5))
        self.assertIsNone(link.transport.producer)
        self.assertTrue(link.closed)

    def test_resumed_without_need(self) -> None:
        """A transport that resumes while nothing is written means nothing."""
        link = self.connected()
        self.take(link)
        link.transport.producer.resumeProducing()
        self.assertEqual(self.buffer.delivered, 1)


class Failing(SyslogCase):
    def test_refused(self) -> None:
        """After failure k in a row the next connect comes in 2^k s."""
        self.push()
        self.clock.advance(0)
        for wait_s in (2, 4, 8, 16):
            self.endpoint.refuse()
            self.assert_next_after(wait_s)

    def test_at_most(self) -> None:
        self.push()
        self.clock.advance(0)
        for _ in range(12):
            self.endpoint.refuse()
            due = self.life.next_attempt
            assert due is not None
            self.clock.advance(due - self.clock.seconds())
        self.endpoint.refuse()
        self.assert_next_after(300)

    def test_first_at_once(self) -> None:
        self.push()
        self.clock.advance(0)
        self.assertEqual(len(self.endpoint.attempts), 1)

    def test_closed_at_once(self) -> None:
        """A close by the peer just after a write is a failure: the next message waits."""
        link = self.connected()
        self.take(link)
        self.clock.advance(0.24)
        link.lose()
        self.assertIs(self.life.phase, Phase.RESTING)
        self.push()
        self.assert_next_after(2)

    def test_closed_while_idle(self) -> None:
        """A later one is not: the next message goes at once, however often that happens."""
        for idle_s in (0.25, 0.3, 1.5, 60.0):
            self.push()
            self.clock.advance(0)
            link = self.endpoint.accept()
            self.take(link)
            self.clock.advance(idle_s)
            link.lose()
            self.assertIs(self.life.phase, Phase.RESTING)
        self.push()
        self.clock.advance(0)
        self.assertEqual(len(self.endpoint.attempts), 5)
        self.assertIsNone(self.outcome.last_error)

    def test_reset_while_idle(self) -> None:
        """An error is a failure, whenever it comes."""
        link = self.connected()
        self.take(link)
        self.clock.advance(60)
        link.lose(ConnectionLost())
        self.push()
        self.assert_next_after(2)

    def test_closed_while_writing(self) -> None:
        """A piece that the kernel did not take is sent again, whole, over the next connection."""
        link = self.connected(3)
        link.lose(ConnectionLost())
        self.assertEqual(self.buffer.buffered, 3)
        self.assert_next_after(2)
        self.assertEqual(self.endpoint.accept().received(), b"".join(map(frame, range(1, 4))))

    def test_stalled(self) -> None:
        """4 s without progress is a failure."""
        link = self.connected()
        self.clock.advance(3.99)
        self.assertFalse(link.closed)
        self.clock.advance(0.01)
        self.assertTrue(link.closed)
        self.assertIn("read nothing for 4 s", str(self.outcome.last_error))
        self.assert_next_after(2)
        self.assertEqual(self.endpoint.accept().received(), frame(1))

    def test_slow_is_not_stalled(self) -> None:
        """A peer that reads a piece every 3 s makes progress."""
        link = self.connected(1_000)
        for _ in range(4):
            self.clock.advance(3)
            self.take(link)
        self.assertFalse(link.closed)
        self.clock.advance(4)
        self.assertTrue(link.closed)

    def test_talks(self) -> None:
        """A receiver that talks is not read for ever."""
        link = self.connected()
        for _ in range(17):
            link.say(b"x" * 4_096)
        self.assertTrue(link.closed)
        self.assert_next_after(2)

    def test_says_something(self) -> None:
        link = self.connected()
        link.say(b"hello\n")
        self.assertFalse(link.closed)

    def test_steady(self) -> None:
        """A connection that is open 1 s after the kernel took a write ends the row."""
        for _ in range(3):
            self.push()
            self.clock.advance(10)
            self.endpoint.refuse()
        self.clock.advance(10)
        link = self.endpoint.accept()
        self.take(link)
        self.clock.advance(1)
        link.lose(ConnectionLost())
        self.push()
        self.assert_next_after(2)

    def test_not_steady(self) -> None:
        """One that was closed before does not."""
        self.push()
        self.clock.advance(0)
        self.endpoint.refuse()
        self.clock.advance(2)
        link = self.endpoint.accept()
        self.take(link)
        self.clock.advance(0.99)
        link.lose(ConnectionLost())
        self.push()
        self.assert_next_after(4)

    def test_idle_close_is_no_failure(self) -> None:
        """After an idle close the next connect comes at once."""
        link = self.connected()
        self.take(link)
        self.clock.advance(240 + 7.6)
        self.assertTrue(link.closed)
        link.lose()
        self.push()
        self.clock.advance(0)
        self.assertEqual(len(self.endpoint.attempts), 2)

    def test_old(self) -> None:
        """So it does after a connection has become too old."""
        link = self.connected()
        for _ in range(5 * 60):
            self.take(link)
            self.clock.advance(60)
            self.push()
            self.clock.advance(0)
        self.assertTrue(link.closed)
        self.assertEqual(len(self.endpoint.attempts), 2)


class Jitter(SyslogCase):
    random = HighRandom()

    def test_jitter(self) -> None:
        """Waits differ, so that the drains of a receiver do not all come at once."""
        self.push()
        self.clock.advance(0)
        self.endpoint.refuse()
        self.assert_next_after(2.5)

    def test_never_longer(self) -> None:
        self.push()
        self.clock.advance(0)
        for _ in range(40):
            self.endpoint.refuse()
            due = self.life.next_attempt
            assert due is not None
            self.assertLessEqual(due - self.clock.seconds(), 300)
            self.clock.advance(300)


class Losses(SyslogCase):
    notice = (
        b"<172>1 2026-11-22T16:00:00.000000+00:00 d.0815 heroku logplex - - Error L10 "
        b"(output buffer overflow): 476 messages dropped "
        b"since 2026-11-22T16:00:00.000000+00:00.\n"
    )

    def test_first_on_the_new_connection(self) -> None:
        link = self.connected(1_500)
        expected = b"%d %b" % (len(self.notice), self.notice) + frame(477)
        self.assertTrue(link.received().startswith(expected))

    def test_told_once(self) -> None:
        link = self.connected(1_500)
        self.assertIn(b"L10", self.take(link))
        self.assertNotIn(b"L10", self.take(link))

    def test_told_again(self) -> None:
        """A notice that the kernel did not take is sent again with its piece."""
        link = self.connected(1_500)
        piece = link.received()
        link.lose()
        self.clock.advance(2)
        self.assertEqual(self.endpoint.accept().received(), piece)


class Keeping(SyslogCase):
    options = DrainSettings(syslog_backoff_max_s=2.0)

    def test_no_connection(self) -> None:
        """A drain that fails keeps its whole buffer."""
        self.push(1_024)
        self.clock.advance(0)
        for _ in range(20):
            self.endpoint.refuse()
            self.clock.advance(2)
        self.assertEqual(self.buffer.buffered, 1_024)


class StoppingAndMoving(SyslogCase):
    def test_flushes(self) -> None:
        """On removal what is buffered is still sent."""
        link = self.connected(100)
        stopped = self.life.stop(5)
        while not stopped.called:
            self.assertTrue(self.take(link))
            self.clock.advance(0)
        self.assertEqual(self.buffer.delivered, 100)
        self.assertTrue(link.closed)

    def test_bound(self) -> None:
        """For 5 s at most; what was not sent is counted."""
        self.connected(100)
        stopped = self.life.stop(5)
        self.clock.pump([1] * 5)
        self.assertEqual(self.successResultOf(stopped), 100)
        self.assertEqual(self.buffer.dropped, 100)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_move(self) -> None:
        """Moving waits for the piece that is being written, and for no other."""
        link = self.connected(100)
        self.life.move()
        self.assertFalse(link.closed)
        count = self.take(link).count(b"\n")
        self.assertTrue(link.closed)
        self.assertEqual(link.received(), b"")
        self.assertEqual(len(self.buffer.messages), 100 - count)

    def test_put_back(self) -> None:
        """Messages go back into the buffer as they were, without what no drain shows."""
        link = self.connected()
        self.life.move()
        link.lose()
        self.assertEqual(
            list(self.buffer.messages),
            [b"<190>1 2026-11-22T15:59:59+00:00 d.0815 app web.1 - - number 1\n"],
        )

    def test_after_a_good_write(self) -> None:
        """Nothing is left ticking."""
        self.push()
        self.clock.advance(0)
        self.endpoint.refuse()
        self.clock.advance(2)
        link = self.endpoint.accept()
        self.take(link)
        self.successResultOf(self.life.stop(5))
        link.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class Tls(SyslogCase):
    tls = True

    def test_rejected(self) -> None:
        """A receiver without a valid certificate gets no message, and is tried again."""
        link = self.connected()
        link.lose(CertificateRejected("certificate has expired"))
        self.assertEqual(link.received(), b"")
        self.assertEqual(self.outcome.last_error, "no connection: certificate has expired")
        self.assert_next_after(2)

    def test_secured(self) -> None:
        link = self.connected()
        self.assertEqual(link.received(), b"")
        lowest: Any = StringTransport()
        link.transport.transport = lowest
        link.protocol.handshakeCompleted()  # type: ignore[attr-defined]
        self.assertEqual(link.received(), frame(1))
        lowest.producer.resumeProducing()
        self.assertEqual(self.buffer.delivered, 1)


class ImpatientClock(Clock):
    """A clock that refuses to be asked for ever."""

    asked = 0

    def callLater(self, *args: Any, **kwargs: Any) -> Any:
        self.asked += 1
        assert self.asked < 100, "asked again and again without any time in between"
        return super().callLater(*args, **kwargs)


class RoundingTests(SynchronousTestCase):
    """Times are binary fractions: what is left of a wait can be less than the clock can tell."""

    def test_stalled(self) -> None:
        """The wait ends, also where 4 s after 0.35 s are not 4 s for the clock."""
        clock = ImpatientClock()
        why: list[str] = []

        class Receiver:
            def taken(self) -> None: ...

            def closed_idle(self) -> None: ...

            def left(self, reason: str) -> None:
                why.append(reason)

        for hundredths in range(1, 100):
            clock.asked = 0
            connection = SyslogConnection(Receiver(), 4.0, clock, tls=False)
            connection.makeConnection(StringTransport())
            connection.write(b"one")
            connection.resumeProducing()
            clock.advance(hundredths / 100)
            connection.write(b"two")
            clock.advance(4)
            clock.advance(0.01)
        self.assertEqual(len(why), 99)
