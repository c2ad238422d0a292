# SPDX-License-Identifier: Apache-2.0

"""A reader that is too slow loses the oldest messages, and is told."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from logplex.live import Live
from logplex.settings import Limits
from logplex.syslog.inner import tail_lines
from logplex.tails import view
from tests.doubles.session_node import (
    NOW_TEXT,
    SessionNode,
    SlowConnection,
    line,
)


class SlowReaderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.node = SessionNode(
            limits=Live(Limits(tail_buffer_messages=10, tail_buffer_bytes=10_000))
        )

    def tail(self, **fields: object) -> None:
        self.connection = self.node.open(tail=True, **fields)

    def l11(self, dropped: int, since: bytes = NOW_TEXT) -> bytes:
        return (
            b" logplex[1]: Error L11 (Tail buffer overflow) -> "
            b"This tail session dropped %d messages since %b.\n" % (dropped, since)
        )

    def append(self, *texts: bytes, source: bytes = b"app") -> None:
        self.node.append(*texts, source=source)
        self.node.clock.advance(1)

    def test_a_slow_reader_loses_the_oldest_and_is_told_in_their_place(self) -> None:
        self.tail()
        self.append(b"first")
        self.connection.pause()
        self.append(*[b"%d" % number for number in range(13)])
        since = b"2027-01-15T08:00:01.000000+00:00"
        self.connection.resume()
        rest = b"".join(line(b"%d" % number) for number in range(3, 13))
        told = b"2027-01-15T08:00:02.000000+00:00" + self.l11(3, since.replace(b"01.0", b"02.0"))
        self.assertEqual(line(b"first") + told + rest, self.connection.body)
        self.assertEqual(3, self.node.counters.tail_dropped)

    def test_every_loss_is_told_once(self) -> None:
        self.tail()
        for _ in range(2):
            self.connection.pause()
            self.append(*[b"x"] * 12)
            self.connection.resume()
        self.append(b"last")
        self.assertEqual(2, self.connection.body.count(b"dropped 2 messages"))
        self.assertEqual(2, self.connection.body.count(b"L11"))

    def test_a_reader_that_keeps_up_is_told_nothing(self) -> None:
        self.tail()
        for _ in range(5):
            self.connection.pause()
            self.append(*[b"x"] * 10)
            self.connection.resume()
        self.assertEqual(line(b"x") * 50, self.connection.body)

    def test_the_buffer_is_bounded_by_bytes_too(self) -> None:
        self.tail()
        self.connection.pause()
        self.append(*[b"x" * 4_000] * 5)
        self.connection.resume()
        self.assertEqual(2, self.connection.body.count(b"x" * 4_000))
        self.assertIn(self.l11(3)[:-40], self.connection.body)

    def test_only_what_the_filters_let_through_is_counted(self) -> None:
        self.tail(source="app")
        self.connection.pause()
        self.append(*[b"x"] * 100, source=b"other")
        self.append(*[b"x"] * 11)
        self.append(*[b"x"] * 100, source=b"other")
        self.connection.resume()
        self.assertIn(b"dropped 1 messages", self.connection.body)
        self.assertEqual(10, self.connection.body.count(line(b"x")))

    def test_an_overflow_is_told_whatever_the_filters_are(self) -> None:
        self.tail(source="app", ps="web")
        self.connection.pause()
        self.append(*[b"x"] * 11)
        self.connection.resume()
        self.assertIn(b"logplex[1]: Error L11", self.connection.body)

    def test_in_events_an_overflow_is_an_event_without_id(self) -> None:
        self.node.put_session(tail=True)
        self.connection = self.node.events()
        self.connection.pause()
        self.append(*[b"x"] * 11)
        self.connection.resume()
        first, second, *_ = self.connection.body.split(b"\n\n")
        self.assertTrue(first.startswith(b"data: 2027"), first)
        self.assertIn(b"dropped 1 messages", first)
        self.assertTrue(second.startswith(b"id: "))

    def test_nothing_is_formatted_for_a_paused_reader(self) -> None:
        formatted: list[int] = []

        def counted(messages: list[bytes]) -> object:
            formatted.append(len(messages))
            return tail_lines(messages)

        self.patch(view, "tail_lines", counted)
        self.tail()
        self.connection.pause()
        self.append(b"x", b"x")
        self.assertEqual([], formatted)
        self.connection.resume()
        self.assertEqual([2], formatted)

    def test_equal_filters_are_formatted_once(self) -> None:
        formatted: list[int] = []

        def counted(messages: list[bytes]) -> object:
            formatted.append(len(messages))
            return tail_lines(messages)

        self.patch(view, "tail_lines", counted)
        self.tail()
        others = [self.node.get(), self.node.events(), self.node.events()]
        others[0].pause()
        self.append(b"x", b"x")
        others[0].resume()
        self.assertEqual([2], formatted)
        self.assertEqual(self.connection.body, others[0].body)

    def test_a_reader_that_reads_gets_more_time(self) -> None:
        """The reader is not too slow, but the node too busy to write as much as comes."""
        self.read_a_little_of(150)
        for _ in range(10):
            self.connection.resume()
        self.assertEqual(line(b"x" * 1_000) * 151, self.connection.body)

    def test_more_time_has_a_bound(self) -> None:
        self.read_a_little_of(1_000)
        self.connection.resume()
        self.assertIn(b"L11", self.connection.body)

    def read_a_little_of(self, messages: int) -> None:
        """Give messages of a kB at once to a reader whose transport takes 64 KiB at a time."""
        self.node.put_session(tail=True)
        self.connection = self.node.get(connection=SlowConnection(self.node.site))
        self.node.append(b"x" * 1_000)
        self.node.append(*[b"x" * 1_000] * messages)
        self.node.clock.advance(0.02)
        self.connection.resume()
        self.node.clock.advance(0.02)

    def test_what_comes_in_one_go_waits_for_the_transport(self) -> None:
        """A reader that reads is not slow because much came before the kernel could take it."""
        self.node.put_session(tail=True)
        self.connection = self.node.get(connection=SlowConnection(self.node.site))
        self.node.append(*[b"x" * 1_000] * 200)
        for _ in range(10):
            self.connection.resume()
        self.assertEqual(line(b"x" * 1_000) * 200, self.connection.body)
