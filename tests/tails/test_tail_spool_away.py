# SPDX-License-Identifier: Apache-2.0

"""Tails of a channel whose spool goes away, comes back, or moves."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from logplex.tails.view import event
from tests.doubles.session_node import (
    NOW_TEXT,
    SessionNode,
    line,
)
from tests.doubles.tails import HeldSpool, cooked

HISTORY_IS_AWAY = b"Warning: log history temporarily unavailable."
L15 = NOW_TEXT + b" logplex[1]: Error L15 (Tail buffer temporarily unavailable)\n"
GAP = NOW_TEXT + b" logplex[1]: Some messages may be missing here.\n"


class AwayTests(SynchronousTestCase):
    """The spool goes away while a channel is tailed."""

    def setUp(self) -> None:
        self.spool = HeldSpool()
        self.node = SessionNode(self.spool)
        self.connection = self.node.open(tail=True)
        (self.tailed,) = self.spool.followers

    def test_readers_are_told_and_messages_go_on(self) -> None:
        self.spool.interrupt()
        self.spool.tell_unnumbered([cooked(b"one")])
        self.assertEqual(L15 + line(b"one"), self.connection.body)

    def test_coming_back_whole_is_not_told(self) -> None:
        self.spool.interrupt()
        self.spool.come_back()
        self.assertEqual(L15, self.connection.body)

    def test_that_messages_may_be_missing_is_told_in_its_place(self) -> None:
        self.spool.append("app-1", [cooked(b"one")])
        self.tailed.missed()
        self.spool.append("app-1", [cooked(b"two")])
        self.node.clock.advance(1)
        self.assertEqual(line(b"one") + GAP + line(b"two"), self.connection.body)

    def test_a_jump_of_the_numbers_alone_is_not_told(self) -> None:
        self.spool.append("app-1", [cooked(b"one")])
        self.spool.last = 1_000_000
        self.spool.append("app-1", [cooked(b"two")])
        self.node.clock.advance(1)
        self.assertEqual(line(b"one") + line(b"two"), self.connection.body)

    def test_numbers_that_begin_again_are_shown_to_all(self) -> None:
        self.spool.last = 1_000
        self.spool.append("app-1", [cooked(b"one")])
        slow, events = self.node.get(), self.node.events()
        slow.pause()
        self.tailed.missed()
        self.spool.last = 4
        self.spool.append("app-1", [cooked(b"two")])
        self.spool.append("app-1", [cooked(b"three")])
        self.node.clock.advance(1)
        slow.resume()
        texts = line(b"one") + GAP + line(b"two") + line(b"three")
        self.assertEqual((texts, texts), (self.connection.body, slow.body))
        self.assertEqual(event(6, line(b"three")), events.body.split(b"\n\n")[-2] + b"\n\n")

    def test_a_new_tail_gets_what_can_be_had_and_goes_on(self) -> None:
        self.spool.append("app-1", [cooked(b"before")])
        self.spool.interrupt()
        self.spool.tell_unnumbered([cooked(b"one")])
        answer = self.node.get()
        self.spool.tell_unnumbered([cooked(b"two")])
        self.node.clock.advance(1)
        self.assertEqual(200, answer.answer().status)
        self.assertEqual(HISTORY_IS_AWAY, answer.answer().headers[b"x-heroku-warning"])
        self.spool.come_back()
        self.spool.append("app-1", [cooked(b"three")])
        self.node.clock.advance(1)
        texts = [line(text) for text in (b"one", b"two", b"three")]
        self.assertEqual(L15 + b"".join(texts), answer.body)

    def test_the_first_tail_of_a_channel_too(self) -> None:
        self.node = SessionNode(HeldSpool(is_away=True, waiting=[cooked(b"one")]))
        connection = self.node.open(tail=True)
        self.assertEqual(L15 + line(b"one"), connection.body)
        self.assertFalse(connection.answer().is_whole)

    def test_a_reader_that_resumes_is_told_that_messages_may_be_missing(self) -> None:
        """Perhaps some of these messages were shown to it before they had numbers."""
        self.spool.interrupt()
        self.spool.tell_unnumbered([cooked(b"one")])
        connection = self.node.events(b"Last-Event-ID: 1")
        self.spool.tell_unnumbered([cooked(b"two")])
        self.node.clock.advance(1)
        body = b": some messages may be missing\n\n" + event(None, L15) + event(None, line(b"two"))
        self.assertEqual(body, connection.body)

    def test_the_history_ends_at_the_moment_of_its_answer(self) -> None:
        """Messages without numbers that came before are in it, and are not shown twice."""
        self.spool.holds_reads = True
        self.spool.append("app-1", [cooked(b"one")])
        connection = self.node.get()
        self.spool.interrupt()
        self.spool.tell_unnumbered([cooked(b"two")])
        self.spool.come_back()
        self.spool.answer(self.spool.reads[0])
        self.assertEqual(line(b"one") + line(b"two"), connection.body)

    def test_a_history_that_holds_what_came_while_it_was_read(self) -> None:
        """The channel is numbered in two places."""
        self.spool.holds_reads = True
        self.spool.append("app-1", [cooked(b"one")])
        connection = self.node.events(b"Last-Event-ID: 0")
        self.spool.append("app-1", [cooked(b"two")])
        self.spool.answer(self.spool.reads[0], moving=True)
        self.tailed.received(None, [cooked(b"three, with a lower number")])
        self.node.clock.advance(1)
        texts = [b"one", b"two", b"three, with a lower number"]
        shown = [event(n, line(text)) for n, text in zip((1, 2, None), texts, strict=True)]
        comment = b": some messages may be missing\n\n"
        self.assertEqual(comment + b"".join(shown), connection.body)

    def test_a_history_that_cannot_be_read_although_messages_come(self) -> None:
        self.spool.holds_reads = True
        connection = self.node.get()
        self.spool.append("app-1", [cooked(b"one")])
        self.spool.lose(self.spool.reads[0])
        self.spool.append("app-1", [cooked(b"two")])
        self.node.clock.advance(1)
        self.assertEqual(HISTORY_IS_AWAY, connection.answer().headers[b"x-heroku-warning"])
        self.assertEqual(line(b"two"), connection.body)
