# SPDX-License-Identifier: Apache-2.0

"""Live messages follow the past of a tail (PROTOCOL §7)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from logplex.syslog.inner import tail_lines, tail_sources
from logplex.tails import view
from tests.doubles.session_node import (
    NOW,
    SessionNode,
    line,
)
from tests.doubles.tails import cooked


class TailTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.node = SessionNode()

    def test_live_lines_follow_the_history(self) -> None:
        self.node.append(b"one")
        connection = self.node.open(tail=True)
        self.node.append(b"two")
        self.node.clock.advance(1)
        self.node.append(b"three")
        answer = connection.answer()
        self.assertEqual(line(b"one") + line(b"two") + line(b"three"), answer.body)
        self.assertFalse(answer.is_whole)

    def test_the_first_after_a_quiet_moment_goes_at_once_and_others_in_company(self) -> None:
        connection = self.node.open(tail=True)
        for text in (b"one", b"two", b"three"):
            self.node.append(text)
        self.assertEqual(line(b"one"), connection.body)
        self.node.clock.advance(0.02)
        self.assertEqual(line(b"one") + line(b"two") + line(b"three"), connection.body)

    def test_many_readers_wait_a_little_longer(self) -> None:
        self.node.put_session(tail=True)
        connections = [self.node.get() for _ in range(200)]
        for text in (b"one", b"two"):
            self.node.append(text)
        self.node.clock.advance(0.019)
        self.assertEqual(line(b"one"), connections[-1].body)
        self.node.clock.advance(0.002)
        self.assertEqual(line(b"one") + line(b"two"), connections[-1].body)

    def test_num_0_shows_no_history(self) -> None:
        self.node.append(b"one")
        connection = self.node.open(tail=True, num=0)
        self.node.append(b"two")
        self.assertEqual(line(b"two"), connection.body)

    def test_filters(self) -> None:
        connection = self.node.open(tail=True, source="app", ps="web")
        self.node.append(b"one", source=b"heroku")
        self.node.append(b"two", ps=b"webber.1")
        self.node.append(b"three", ps=b"web.2")
        self.node.clock.advance(1)
        self.assertEqual(line(b"three", ps=b"web.2"), connection.body)

    def test_many_filters_cost_one_pass_over_a_message(self) -> None:
        passes: list[int] = []
        formatted: list[int] = []

        def counted_sources(messages: list[bytes]) -> object:
            passes.append(len(messages))
            return tail_sources(messages)

        def counted_lines(messages: list[bytes]) -> object:
            formatted.append(len(messages))
            return tail_lines(messages)

        self.patch(view, "tail_sources", counted_sources)
        self.patch(view, "tail_lines", counted_lines)
        connections = []
        for n in range(300):
            self.node.put_session(tail=True, num=0, ps=f"web.{n}")
            connections.append(self.node.get() if n % 2 else self.node.events())
        everything = self.node.open(tail=True, num=0)
        self.node.append(*[b"x"] * 50, ps=b"web.7")
        self.node.append(*[b"y"] * 50, ps=b"run.1")
        self.node.clock.advance(1)
        self.assertEqual((100, 100), (sum(passes), sum(formatted)))
        shown = [len(each.body) for each in connections]
        self.assertEqual(50 * len(line(b"x", ps=b"web.7")), shown.pop(7))
        self.assertEqual({0}, set(shown))
        self.assertEqual(100, everything.body.count(b"\n"))

    def test_what_cannot_be_parsed_is_left_out_and_counted(self) -> None:
        connection = self.node.open(tail=True)
        self.node.spool.append("app-1", [b"<42> blafasel", cooked(b"one")])
        self.assertEqual(line(b"one"), connection.body)
        self.assertEqual(1, self.node.counters.tail_unparsable)

    def test_events_have_the_messages_numbers(self) -> None:
        self.node.append(b"one")
        self.node.put_session(tail=True)
        connection = self.node.events()
        self.node.append(b"two\nid: 7\n")
        first = NOW * 1_000_000 + 1
        self.assertEqual(
            b"id: %d\ndata: %b\nid: %d\ndata: %bdata: id: 7\n\n"
            % (first, line(b"one"), first + 1, line(b"two")),
            connection.body,
        )

    def test_a_tail_goes_on_after_the_last_event_seen(self) -> None:
        self.node.append(b"one", b"two", b"three")
        self.node.put_session(tail=True, num=1)
        first = NOW * 1_000_000 + 1
        connection = self.node.events(b"Last-Event-ID: %d" % first)
        self.node.append(b"four")
        lines = [line(text) for text in (b"two", b"three", b"four")]
        self.assertEqual(
            b"".join(b"id: %d\ndata: %b\n" % (first + 1 + n, each) for n, each in enumerate(lines)),
            connection.body,
        )

    def test_a_malformed_last_event_id_is_as_if_absent(self) -> None:
        self.node.append(b"one", b"two")
        self.node.put_session(num=1)
        for text in (b"x", b"-1", b"", b"9" * 30):
            body = self.node.events(b"Last-Event-ID: " + text).body
            self.assertEqual(1, body.count(b"data:"))

    def test_plain_text_ignores_the_last_event_id(self) -> None:
        self.node.append(b"one", b"two")
        self.node.put_session()
        body = self.node.get(b"Last-Event-ID: %d" % (NOW * 1_000_000 + 1)).body
        self.assertEqual(line(b"one") + line(b"two"), body)

    def test_a_comment_says_how_many_are_gone(self) -> None:
        self.node.append(*[b"x"] * 2_000)
        self.node.put_session(num=1)
        connection = self.node.events(b"Last-Event-ID: %d" % (NOW * 1_000_000 + 10))
        self.assertTrue(connection.body.startswith(b": 490 messages are gone\n\nid: "))
        self.assertEqual(1_500, connection.body.count(b"\ndata:"))

    def test_events_end_after_the_history_if_no_tail_was_asked_for(self) -> None:
        self.node.append(b"one")
        self.node.put_session()
        self.assertTrue(self.node.events().answer().is_whole)
