# SPDX-License-Identifier: Apache-2.0

"""The bound on open connections: in all, and for each address."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from logplex.web import ConnectionBound


class ConnectionBoundTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.bound = ConnectionBound(self.clock)

    def admitted(self, address: str, tries: int, most: int) -> int:
        return sum(self.bound.admit(address, most) for _ in range(tries))

    def test_one_address(self) -> None:
        """It gets half of what the others leave free, and they get the rest."""
        self.assertEqual(self.admitted("a", 10, 10), 5)
        self.assertEqual(self.admitted("b", 10, 10), 3)
        self.assertEqual(self.admitted("c", 10, 10), 1)
        self.assertEqual(self.admitted("d", 10, 10), 1)
        self.assertEqual(self.admitted("e", 10, 10), 0)
        self.assertEqual((self.bound.open, self.bound.refused), (10, 40))

    def test_room_again(self) -> None:
        self.admitted("a", 10, 10)
        self.bound.leave("a")
        self.assertEqual(self.admitted("a", 10, 10), 1)

    def test_no_address(self) -> None:
        """Clients on Unix sockets cannot be told apart."""
        self.assertEqual(self.admitted("", 20, 10), 10)

    def test_small_bounds(self) -> None:
        self.assertEqual(self.admitted("a", 20, 3), 3)

    @given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans())), st.integers(1, 12))
    def test_any_course(self, steps: list[tuple[str, bool]], most: int) -> None:
        bound = ConnectionBound(self.clock)
        own = dict.fromkeys("abc", 0)
        for address, is_new in steps:
            if not is_new and own[address]:
                own[address] -= 1
                bound.leave(address)
            elif is_new and bound.admit(address, most):
                own[address] += 1
            self.assertEqual(bound.open, sum(own.values()))
            self.assertLessEqual(bound.open, most)

    def test_told(self) -> None:
        """A full listener is in the log, once a minute, and in health for a minute."""
        self.assertEqual(self.bound.troubles("logs"), [])
        for address in "abcd":
            self.admitted(address, 2, 4)
        with capturedLogs() as events:
            self.clock.advance(60)
            self.admitted("x", 5, 4)
        self.assertEqual(
            [formatEvent(event) for event in events],
            [
                "a connection is refused: all 4 connections are taken "
                f"({self.bound.refused - 4} refused since the start)"
            ],
        )
        self.assertEqual(
            self.bound.troubles("logs"), ["the listener logs is full: it refuses connections"]
        )
        self.clock.advance(60)
        self.assertEqual(self.bound.troubles("logs"), [])

    def test_one_address_is_no_trouble(self) -> None:
        """An address that has its share is in the log only."""
        with capturedLogs() as events:
            self.admitted("192.0.2.7", 5, 4)
        self.assertEqual(self.bound.troubles("logs"), [])
        self.assertEqual(
            [formatEvent(event) for event in events],
            [
                "a connection is refused: 192.0.2.7 has 2 connections, half of those that others "
                "leave free (1 refused since the start)"
            ],
        )
