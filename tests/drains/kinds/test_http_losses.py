# SPDX-License-Identifier: Apache-2.0

"""HTTP drains: what is lost and told, and how connections and drains end."""

from __future__ import annotations

from logplex.drains.delivery.courier import Loss
from logplex.settings import DrainSettings
from tests.doubles.http_drain import OK, HttpCase, Request, answer, frame
from tests.doubles.stream_drain import NOW


class Losses(HttpCase):
    """The notices to the receiver about lost messages."""

    options = DrainSettings(http_tries=3)

    def test_overflow(self) -> None:
        """A receiver that was away gets what the buffer held, and the exact count of the rest."""
        self.push(1_500)
        self.clock.advance(0)
        link = self.endpoint.accept()
        request = Request(link.received())
        notice = (
            b"<172>1 2026-11-22T16:00:00.000000+00:00 host heroku logplex - Error L10 "
            b"(output buffer overflow): 476 messages dropped "
            b"since 2026-11-22T16:00:00.000000+00:00.\n"
        )
        self.assertEqual(request.count, 401)
        self.assertTrue(request.body.startswith(b"%d %b" % (len(notice), notice) + frame(477)))

    def test_on_top_of_the_bounds(self) -> None:
        """The notice takes no message's place."""
        self.push(1_424)
        link = self.connected()
        self.assertEqual(Request(link.received()).count, 401)

    def test_told_once(self) -> None:
        link = self.connected(1_500)
        self.assertIn(b"L10", link.received())
        link.say(OK)
        self.assertNotIn(b"L10", link.received())

    def test_told_again_until_delivered(self) -> None:
        """Count and time cover all losses since the last notice that was delivered."""
        link = self.connected(1_025)
        for wait_s in (0.25, 1.0):
            link.say(answer(500))
            link = self.next_link(wait_s)
        link.say(answer(500))
        request = Request(self.next_link(0.05).received())
        self.assertIn(b"401 messages dropped since 2026-11-22T16:00:00.000000+00:00.", request.body)

    def test_lost_while_the_notice_is_on_its_way(self) -> None:
        """A loss in the meantime is told with the next batch."""
        link = self.connected(1_025)
        link.received()
        self.push(500)
        link.say(OK)
        request = Request(link.received())
        self.assertIn(b"100 messages dropped", request.body)


class Keeping(HttpCase):
    """A drain that fails keeps its whole buffer."""

    def test_no_connection(self) -> None:
        self.push(1_024)
        self.clock.advance(0)
        for _ in range(100):
            self.endpoint.refuse()
            self.clock.advance(6)
        self.assertEqual(self.buffer.buffered, 1_024)

    def test_refusing(self) -> None:
        """Also with a receiver that answers, but takes nothing."""
        link = self.connected()
        link.say(answer(404))
        for _ in range(4):
            self.clock.advance(100)
            self.push()
            self.clock.advance(0)
            link.say(answer(404))
        self.push(1_024)
        self.assertEqual(self.buffer.buffered, 1_024)


class MakingRoom(HttpCase):
    """A batch that waits for its next try is older than the buffer, and goes first."""

    def test_oldest_first(self) -> None:
        """The next batch takes its place."""
        link = self.connected(400)
        link.say(answer(503))
        self.push(1_024)
        self.assert_counts(0, 0)
        self.push(1)
        self.assert_counts(0, 400)
        self.assertEqual(self.buffer.buffered, 1_025)
        self.push(399)
        self.assert_counts(0, 400)
        request = Request(self.next_link(0.25).received())
        self.assertIn(b"400 messages dropped", request.body)
        self.assertIn(frame(401), request.body)

    def test_not_while_it_is_sent(self) -> None:
        """A batch that the receiver may be reading is not given up."""
        link = self.connected(400)
        self.push(1_025)
        self.assert_counts(0, 1)
        link.say(OK)
        self.assert_counts(400, 1)

    def test_loss_that_was_on_its_way(self) -> None:
        """The loss of which the batch would have told is told by the next."""
        link = self.connected(1_025)
        link.say(answer(503))
        self.push(401)
        self.assert_counts(0, 401)
        self.assertIn(b"401 messages dropped", self.next_link(0.25).received())

    def test_moved(self) -> None:
        """A buffer that makes room after a move asks nothing of the old courier."""
        self.connected(400).say(answer(503))
        self.life.move()
        self.push(700)
        self.assert_counts(0, 76)


class Closing(HttpCase):
    """Connections that the drain ends."""

    def test_idle(self) -> None:
        link = self.connected()
        link.say(OK)
        self.clock.advance(144 + 7.4)
        self.assertFalse(link.closed)
        self.clock.advance(0.2)
        self.assertTrue(link.closed)
        link.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_receiver_does_not_close(self) -> None:
        """A receiver that does not agree to the close is left after 5 s (TLS waits for it)."""
        link = self.connected()
        link.say(OK)
        self.successResultOf(self.life.stop(5))
        self.assertTrue(link.transport.disconnecting)
        self.assertFalse(link.transport.disconnected)
        self.clock.advance(5)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_old(self) -> None:
        """A connection ends after 5 h, even in use."""
        link = self.connected()
        for _ in range(299):
            link.say(OK)
            self.clock.advance(60)
            self.push()
            self.clock.advance(0)
        self.clock.advance(4)
        link.say(OK)
        self.clock.advance(54)
        self.assertFalse(link.closed)
        self.push()
        self.clock.advance(3)
        link.say(OK)
        self.assertTrue(link.closed)
        self.assert_counts(301, 0)


class StoppingAndMoving(HttpCase):
    def test_stop_while_sending(self) -> None:
        """The drain sends what is under way and what waits before it stops."""
        link = self.connected()
        self.push(3)
        stopped = self.life.stop(5)
        link.say(OK)
        self.clock.advance(0)
        link.say(OK)
        self.successResultOf(stopped)
        self.assert_counts(4, 0)

    def test_stop_in_vain(self) -> None:
        """After its time everything that was not sent is counted."""
        link = self.connected(2)
        link.say(answer(500))
        self.push()
        stopped = self.life.stop(5)
        self.clock.advance(5)
        self.assertEqual(self.successResultOf(stopped), 3)
        self.assert_counts(0, 3)

    def test_move_while_sending(self) -> None:
        """The old receiver gets nothing after what was under way. What it did not take goes to the
        new one first, in the form in which it came, but for what drains never show."""
        self.buffer.push([b'<190>1 2026-11-22T15:59:59+00:00 h app web.1 id [a b="\\]"] text  [x]'])
        link = self.connected()
        request = Request(link.received())
        self.life.move()
        self.push()
        link.say(answer(503))
        self.assertEqual(self.buffer.buffered, 3)
        self.assertEqual(self.buffer.in_flight, 0)
        repeated = Request(self.next_link().received())
        self.assertEqual(repeated.body, request.body + frame(2))

    def test_loss_survives(self) -> None:
        """A loss of which the old receiver was not told is told to the new one."""
        link = self.connected(1_025)
        self.life.move()
        link.lose()
        loss = self.buffer.loss
        assert loss is not None
        self.assertEqual(loss, Loss(1, NOW))
