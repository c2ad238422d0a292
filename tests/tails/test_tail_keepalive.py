# SPDX-License-Identifier: Apache-2.0

"""Signs of life of quiet event streams."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.doubles.session_node import (
    NOW,
    SessionNode,
)
from tests.doubles.tails import HeldSpool, cooked


class SilenceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.node = SessionNode()
        self.node.put_session(tail=True)

    def test_a_comment_every_15_s_of_silence(self) -> None:
        connection = self.node.events()
        self.node.clock.advance(14.9)
        self.assertEqual(b"", connection.body)
        self.node.clock.advance(0.1)
        self.assertEqual(b":\n\n", connection.body)
        self.node.clock.advance(15)
        self.assertEqual(b":\n\n" * 2, connection.body)

    def test_silence_begins_after_the_last_message(self) -> None:
        connection = self.node.events()
        self.node.clock.advance(10)
        self.node.append(b"one")
        size = len(connection.body)
        self.node.clock.advance(14.9)
        self.assertEqual(size, len(connection.body))
        self.node.clock.advance(0.1)
        self.assertTrue(connection.body.endswith(b"\n:\n\n"))

    def test_each_reader_has_its_own_silence(self) -> None:
        first = self.node.events()
        self.node.clock.advance(5)
        second = self.node.events()
        self.node.clock.advance(10)
        self.assertEqual((b":\n\n", b""), (first.body, second.body))
        self.node.clock.advance(5)
        self.assertEqual((b":\n\n", b":\n\n"), (first.body, second.body))

    def test_plain_text_gets_no_sign_of_life(self) -> None:
        self.node.append(b"one", source=b"other")
        self.node.put_session(tail=True, source="app")
        connection = self.node.get()
        self.node.clock.advance(100)
        self.assertEqual(b"", connection.body)

    def test_a_filtered_stream_is_given_its_position(self) -> None:
        self.node.put_session(tail=True, source="app")
        self.node.append(b"one")
        connection = self.node.events()
        shown = connection.body
        self.node.append(b"two", b"three", source=b"other")
        self.node.clock.advance(15)
        position = b"id: %d\n:\n\n" % (NOW * 1_000_000 + 3)
        self.assertEqual(position, connection.body.removeprefix(shown))

    def test_a_stream_that_begins_empty_is_given_its_position(self) -> None:
        self.node.put_session(tail=True, source="app")
        self.node.append(b"one", b"two", source=b"other")
        connection = self.node.events()
        self.assertEqual(b"id: %d\n:\n\n" % (NOW * 1_000_000 + 2), connection.body)

    def test_no_position_for_a_reader_that_is_behind(self) -> None:
        self.node.append(b"one")
        connection = self.node.events()
        connection.pause()
        self.node.append(b"two")
        self.node.clock.advance(15)
        size = len(connection.body)
        self.node.clock.advance(15)
        self.assertEqual(size, len(connection.body))

    def test_no_position_if_it_is_not_known(self) -> None:
        """A reader that began while the spool was away has not seen all that has a number now."""
        spool = HeldSpool()
        self.node = SessionNode(spool)
        self.node.put_session(tail=True, source="other")
        self.node.get()
        spool.append("app-1", [cooked(b"one")])
        spool.interrupt()
        connection = self.node.events(b"Last-Event-ID: 0")
        size = len(connection.body)
        spool.come_back()
        self.node.clock.advance(15)
        self.assertEqual(b":\n\n", connection.body[size:])

    def test_nothing_for_a_reader_that_has_no_room(self) -> None:
        connection = self.node.events()
        connection.pause()
        self.node.clock.advance(100)
        self.assertEqual(b"", connection.body)

    def test_no_timer_is_left_over(self) -> None:
        self.node.events().leave()
        self.node.clock.advance(15)
        self.assertEqual([], self.node.clock.getDelayedCalls())
