# SPDX-License-Identifier: Apache-2.0

"""Drains that lead back to their own channel."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from logplex.inputs.loops import FORGET_INTERVAL_S, MAX_CHANNELS, SEEN_S, Loops
from logplex.model.values import Channel, Delete, Drain, Put
from logplex.routing.registry import Registry


class LoopTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000)
        self.registry = Registry()
        self.told: list[tuple[str, bytes]] = []
        self.loops = Loops(
            self.registry,
            lambda channel, message, _: self.told.append((channel, message)),
            self.clock,
        )
        self.registry.loaded(
            [
                *map(Channel, "abcd"),
                Drain(1, "a", "d.1", "http://to-b"),
                Drain(2, "b", "d.2", "http://to-c"),
                Drain(3, "c", "d.3", "http://to-a"),
                Drain(4, "a", "d.4", "http://to-d"),
            ]
        )

    def closes(self, token: str, *channel_ids: str) -> bool:
        return self.loops.closes(token, set(channel_ids))

    def test_own_channel(self) -> None:
        """The channel is told once for each drain and URL."""
        for _ in range(3):
            self.assertTrue(self.closes("d.1", "a"))
        self.assertTrue(self.closes("d.1", "b", "a"))
        self.assertEqual([channel for channel, _ in self.told], ["a"])
        self.assertIn(
            b" heroku logplex - - Error (drain loop): drain 'd.1' leads back", self.told[0][1]
        )
        self.registry.changed([Put(Drain(1, "a", "d.1", "http://elsewhere"))])
        self.assertTrue(self.closes("d.1", "a"))
        self.assertTrue(self.closes("d.4", "a"))
        self.assertEqual(len(self.told), 3)

    def test_no_loops(self) -> None:
        for token, channel_id in (("d.1", "b"), ("d.4", "d"), ("d.9", "a"), ("", "a")):
            self.assertFalse(self.closes(token, channel_id))
        self.assertFalse(self.closes("d.1"))
        self.assertEqual(self.told, [])

    def test_three(self) -> None:
        """The request that closes a circle of three is found, and only that one."""
        self.assertFalse(self.closes("d.1", "b"))
        self.assertFalse(self.closes("d.2", "c"))
        self.assertTrue(self.closes("d.3", "a"))
        self.assertFalse(self.closes("d.4", "d"))
        self.assertEqual([channel for channel, _ in self.told], ["c"])

    def test_circle_that_was_opened(self) -> None:
        """Once a drain of it is gone, or has not been seen for long, there is no circle."""
        self.closes("d.1", "b")
        self.closes("d.2", "c")
        self.registry.changed([Delete(Drain, 2)])
        self.assertFalse(self.closes("d.3", "a"))
        self.registry.changed([Put(Drain(2, "b", "d.2", "http://to-c"))])
        self.clock.advance(FORGET_INTERVAL_S)
        self.assertTrue(self.closes("d.2", "c"))
        self.clock.advance(SEEN_S)
        self.assertFalse(self.closes("d.2", "c"))

    def test_bounded(self) -> None:
        """A circle over more channels than are looked at is not found."""
        for number in range(MAX_CHANNELS + 1):
            self.registry.changed(
                [Put(Drain(100 + number, f"n{number}", f"d.{100 + number}", "x"))]
            )
            self.assertFalse(self.closes(f"d.{100 + number}", f"n{number + 1}"))
        last = MAX_CHANNELS + 1
        self.registry.changed([Put(Drain(99, f"n{last}", "d.99", "x"))])
        self.assertFalse(self.closes("d.99", "n0"))
        self.assertTrue(self.closes("d.99", "n5"))
