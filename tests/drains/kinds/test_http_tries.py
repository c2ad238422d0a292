# SPDX-License-Identifier: Apache-2.0

"""HTTP drains: tries, and the waits between them and between connections."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionLost

from logplex.drains.delivery.states import Phase
from logplex.drains.kinds import http
from logplex.drains.kinds.http_answers import retry_after_s
from logplex.settings import DrainSettings
from tests.doubles.http_drain import OK, HttpCase, Request, answer, frame
from tests.doubles.receivers import HighRandom, Link
from tests.doubles.stream_drain import NOW


class Tries(HttpCase):
    """Failures that use up a try, and the next try, if tries are bounded."""

    options = DrainSettings(http_tries=3)

    def assert_retried(self, link: Link, request: Request, after_s: float) -> Link:
        self.assertTrue(link.closed)
        self.assertIs(self.life.phase, Phase.WAITING)
        again = self.next_link(after_s)
        repeated = Request(again.received())
        self.assertEqual(repeated.frame_id, request.frame_id)
        self.assertEqual(repeated.body, request.body)
        return again

    def test_three_tries(self) -> None:
        """The same batch is tried three times, over new connections, then dropped."""
        for octets in (
            *map(answer, (300, 301, 302, 304, 307, 308, 408, 425, 429, 500, 502, 503, 599)),
            b"hello there\r\n\r\n",
            b"HTTP/1.1 20x OK\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000,
        ):
            self.setUp()
            link = self.connected(2)
            request = Request(link.received())
            link.say(octets)
            link = self.assert_retried(link, request, 0.25)
            link.say(octets)
            link = self.assert_retried(link, request, 1.0)
            self.assert_counts(0, 0)
            link.say(octets)
            self.assertTrue(link.closed)
            self.assert_counts(0, 2)
            self.assertIs(self.life.phase, Phase.RESTING)

    def test_second_try_succeeds(self) -> None:
        link = self.connected()
        link.say(answer(500))
        self.next_link(0.25).say(OK)
        self.assert_counts(1, 0)

    def test_tries_are_a_batchs(self) -> None:
        """The next batch has three tries of its own, and an id of its own."""
        link = self.connected()
        first = Request(link.received())
        link.say(answer(500))
        link = self.next_link(0.25)
        link.say(OK)
        link.received()
        self.clock.advance(1)
        self.push()
        self.clock.advance(0)
        second = Request(link.received())
        self.assertNotEqual(first.frame_id, second.frame_id)
        for wait_s in (0.25, 1.0):
            link.say(answer(500))
            link = self.next_link(wait_s)
        link.say(OK)
        self.assert_counts(2, 0)

    def test_redirect_is_not_followed(self) -> None:
        link = self.connected()
        request = Request(link.received())
        link.say(answer(302, b"Location: http://inside.example/"))
        self.assert_retried(link, request, 0.25)

    def test_silence(self) -> None:
        """5 s without a whole answer; an interim answer is not one."""
        for octets in (b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-"):
            self.setUp()
            link = self.connected()
            request = Request(link.received())
            self.clock.advance(4)
            if octets:
                link.say(octets)
            self.clock.advance(0.999)
            self.assertFalse(link.closed)
            self.clock.advance(0.001)
            self.assert_retried(link, request, 0.25)

    def test_lost(self) -> None:
        """A new connection that is lost before or within the answer's head."""
        for octets in (b"", b"HTTP/1.1 200 OK\r\nContent-"):
            self.setUp()
            link = self.connected()
            request = Request(link.received())
            link.say(octets)
            link.lose(ConnectionLost())
            self.assert_retried(link, request, 0.25)

    def test_refused_connections_use_no_try(self) -> None:
        """A connection that cannot be made uses no try, whatever is under way."""
        link = self.connected()
        link.say(answer(500))
        self.clock.advance(0.25)
        for _ in range(20):
            self.endpoint.refuse()
            self.clock.advance(6)
        link = self.endpoint.accept()
        link.say(answer(500))
        self.next_link(1.0).say(OK)
        self.assert_counts(1, 0)

    def test_refused_stamp(self) -> None:
        """The time of a refused connection is the time of the machine, as of every failure."""
        self.patch(http, "wall_s", lambda clock: 5.0)
        self.push()
        self.clock.advance(0)
        self.endpoint.refuse()
        self.assertEqual(self.outcome.last_error_at, 5.0)

    def test_messages_wait_behind(self) -> None:
        """Messages that come while a batch is tried wait, and follow in order."""
        link = self.connected()
        link.say(answer(500))
        self.push()
        link = self.next_link(0.25)
        self.assertEqual(Request(link.received()).body, frame(1))
        link.say(OK)
        self.clock.advance(0.05)
        self.assertEqual(Request(link.received()).body, frame(2))

    def test_next_after_a_dropped_batch(self) -> None:
        """It comes over a new connection, and tells of the loss first."""
        link = self.connected(2)
        for wait_s in (0.25, 1.0):
            link.say(answer(500))
            link = self.next_link(wait_s)
        self.push()
        link.say(answer(500))
        request = Request(self.next_link(0.05).received())
        self.assertEqual(request.count, 2)
        self.assertIn(b"2 messages dropped", request.body)


class Age(HttpCase):
    """A batch is tried for 15 minutes, not for a number of times."""

    def test_waits(self) -> None:
        """The tries come later and later, at most a minute apart."""
        link = self.connected()
        for wait_s in (0.25, 1.0, 4.0, 16.0, 60.0, 60.0, 60.0):
            link.say(answer(503))
            link = self.next_link(wait_s)
        link.say(OK)
        self.assert_counts(1, 0)

    def test_given_up(self) -> None:
        """The last try is 15 minutes after the first failure."""
        link = self.connected()
        link.say(answer(503))
        self.clock.advance(0.25)
        while self.buffer.buffered and self.clock.seconds() < NOW + 3_600:
            self.endpoint.accept().say(answer(503))
            due = self.life.next_attempt
            if due is not None:
                self.clock.advance(due - self.clock.seconds() + 0.0001)
        self.assert_counts(0, 1)
        self.assertEqual(round(self.clock.seconds() - NOW), 900)

    def test_time_without_a_connection(self) -> None:
        """It does not count: nothing has been refused in it."""
        link = self.connected()
        link.say(answer(503))
        self.clock.advance(0.25)
        for _ in range(1_000):
            self.endpoint.refuse()
            self.clock.advance(6)
        link = self.endpoint.accept()
        link.say(answer(503))
        self.assert_counts(0, 0)
        self.next_link(1.0).say(OK)
        self.assert_counts(1, 0)

    def test_an_outage_of_seconds(self) -> None:
        """A receiver that is overloaded for 6 s costs nothing."""
        link = self.connected()
        for wait_s in (0.25, 1.0, 4.0):
            link.say(answer(503))
            link = self.next_link(wait_s)
        self.push(10)
        link.say(OK)
        self.clock.advance(0.05)
        link.say(OK)
        self.assert_counts(11, 0)


class IdleCloses(HttpCase):
    """An idle connection that the receiver closed costs no try."""

    def test_seen(self) -> None:
        """The drain has seen the close: the next message makes a new connection."""
        link = self.connected()
        link.say(OK)
        link.lose()
        self.assertIs(self.life.phase, Phase.RESTING)
        self.push()
        link = self.next_link(0.05)
        self.assertEqual(Request(link.received()).body, frame(2))
        self.assertIsNone(self.outcome.last_error)

    def test_seen_while_lingering(self) -> None:
        link = self.connected()
        link.say(OK)
        self.push()
        link.lose()
        link = self.next_link(0.05)
        self.assertEqual(Request(link.received()).body, frame(2))

    def race(self) -> Link:
        """A connection that has served, and on which a second request was sent."""
        link = self.connected()
        link.say(OK)
        link.received()
        self.clock.advance(1)
        self.push()
        self.clock.advance(0)
        self.request = Request(link.received())
        return link

    def test_race(self) -> None:
        """The receiver closed just before it could see the request: it is sent at once over a
        new connection, as the same batch, and has all its tries."""
        link = self.race()
        link.lose()
        link = self.next_link()
        self.assertEqual(Request(link.received()).frame_id, self.request.frame_id)
        for wait_s in (0.25, 1.0):
            link.say(answer(500))
            link = self.next_link(wait_s)
        link.say(OK)
        self.assert_counts(2, 0)

    def test_answer_had_begun(self) -> None:
        """A receiver that had begun to answer has seen the request: that is a try."""
        link = self.race()
        link.say(b"HTTP/1.1")
        link.lose()
        self.next_link(0.25)

    def test_silence_is_no_race(self) -> None:
        """A receiver that keeps the connection open and says nothing costs a try."""
        self.race()
        self.clock.advance(5)
        self.next_link(0.25)


class RetryAfter(HttpCase):
    """The receiver says when it can be asked again."""

    options = DrainSettings(http_tries=3)

    def waits(self, status: int, header: bytes) -> float:
        self.setUp()
        link = self.connected()
        link.say(answer(status, b"Retry-After: " + header))
        due = self.life.next_attempt
        assert due is not None
        return due - self.clock.seconds()

    def test_seconds(self) -> None:
        self.assertEqual(self.waits(429, b"7"), 7)
        self.assertEqual(self.waits(503, b"7"), 7)

    def test_date(self) -> None:
        date = format_datetime(datetime(2026, 11, 22, 16, 0, 30, tzinfo=UTC), usegmt=True)
        self.assertEqual(self.waits(503, date.encode()), 30)

    def test_at_most_a_minute(self) -> None:
        self.assertEqual(self.waits(503, b"3600"), 60)
        self.assertEqual(self.waits(503, b"9" * 4_000), 60)
        self.assertEqual(self.waits(503, b"Sun, 22 Nov 2099 16:00:30 GMT"), 60)

    def test_never_sooner(self) -> None:
        """A receiver cannot ask for less than the usual wait, and nonsense asks for nothing."""
        for header in (
            b"0",
            b"-1",
            b"soon",
            b"",
            b"Sun, 22 Nov 2020 16:00:30 GMT",
            b"1e3",
            b"\xb2",
        ):
            self.assertEqual(self.waits(503, header), 0.25)

    def test_after_the_third_try(self) -> None:
        """The next batch waits as long, too."""
        link = self.connected()
        for wait_s in (0.25, 1.0):
            link.say(answer(503))
            link = self.next_link(wait_s)
        link.say(answer(503, b"Retry-After: 20"))
        self.push()
        self.next_link(20.0)

    @settings(deadline=None)
    @given(st.binary(max_size=40))
    def test_anything(self, value: bytes) -> None:
        self.assertGreaterEqual(retry_after_s(value, NOW), 0.0)


class Backoff(HttpCase):
    """Between connections that could not be made."""

    random = HighRandom()

    def test_waits(self) -> None:
        """None after the first two, then longer and longer, up to 5.1 s."""
        self.push()
        self.clock.advance(0)
        waits = []
        for _ in range(14):
            self.endpoint.refuse()
            due = self.life.next_attempt
            assert due is not None
            waits.append(round(due - self.clock.seconds(), 3))
            self.clock.advance(6)
        self.assertEqual(
            waits,
            [0, 0, 0.035, 0.075, 0.155, 0.315, 0.635, 1.275, 2.555, *[5.115] * 5],
        )

    def test_begins_anew(self) -> None:
        """A connection that was made ends the row."""
        self.push()
        self.clock.advance(0)
        for _ in range(5):
            self.endpoint.refuse()
            self.clock.advance(6)
        link = self.endpoint.accept()
        link.say(OK)
        link.lose()
        self.push()
        self.clock.advance(0.05)
        self.endpoint.refuse()
        self.assertEqual(self.life.next_attempt, self.clock.seconds())

    def test_messages_wait(self) -> None:
        """Messages wait in the buffer until a connection can be made, and none is lost."""
        self.push(1_024)
        self.clock.advance(0)
        for _ in range(10):
            self.endpoint.refuse()
            self.clock.advance(6)
        self.assert_counts(0, 0)
        self.assertIn("refused", str(self.outcome.last_error))
