# SPDX-License-Identifier: Apache-2.0

"""Large compressed bodies: slice by slice, and one after the other."""

from __future__ import annotations

import gzip
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from logplex.inputs.compression import BadCompression, TooLarge
from logplex.inputs.logs import TURN_BYTES, Decompressor

LARGE = b"x" * (3 * TURN_BYTES + 1)
MAX_BYTES = 2 * len(LARGE)


class Turns(Clock):
    """A clock whose every second is one turn of a reactor."""

    def callLater(self, delay: float, *call: Any, **arguments: Any) -> IDelayedCall:
        return super().callLater(delay + 1, *call, **arguments)


class DecompressorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Turns()
        self.decompressor = Decompressor(self.clock)

    def decompress(
        self, body: bytes, max_bytes: int = MAX_BYTES, sender: bytes = b"one"
    ) -> Deferred[bytes]:
        return Deferred.fromCoroutine(self.decompressor.decompress(body, "gzip", max_bytes, sender))

    def assert_done(self, done: Deferred[bytes], text: bytes) -> None:
        """Without showing megabytes where they are others."""
        self.assertTrue(self.successResultOf(done) == text)

    def assert_waits(self, waiting: Deferred[bytes]) -> None:
        self.assertFalse(waiting.called)

    def test_small(self) -> None:
        """At once."""
        text = b"x" * (TURN_BYTES - 1)
        self.assert_done(self.decompress(gzip.compress(text)), text)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_large(self) -> None:
        """A turn of the reactor for each slice."""
        large = self.decompress(gzip.compress(LARGE))
        for _ in range(3):
            self.assert_waits(large)
            self.clock.advance(1)
        self.assert_done(large, LARGE)

    def test_one_after_the_other(self) -> None:
        """Other large bodies wait, so that one is in memory at a time."""
        first = self.decompress(gzip.compress(LARGE))
        second = self.decompress(gzip.compress(LARGE))
        third = self.decompress(gzip.compress(b"small"))
        for waiting in (second, third):
            self.assert_waits(waiting)
        self.clock.pump([1] * 3)
        self.assert_done(first, LARGE)
        self.assert_waits(third)
        self.clock.pump([1] * 3)
        self.assert_done(second, LARGE)
        self.assert_done(third, b"small")

    def test_in_turn(self) -> None:
        """Another sender's body waits for one body of a sender with many, not for all."""
        many = [self.decompress(gzip.compress(LARGE)) for _ in range(20)]
        small = self.decompress(gzip.compress(b"small"), sender=b"two")
        also = self.decompress(gzip.compress(b"also"), sender=b"three")
        self.clock.pump([1] * 3)
        self.assert_done(many[0], LARGE)
        self.clock.pump([1] * 3)
        self.assert_done(small, b"small")
        self.assert_done(also, b"also")
        self.assert_waits(many[2])
        self.clock.pump([1] * 3 * 20)
        for each in many[1:]:
            self.assert_done(each, LARGE)

    def test_mistakes(self) -> None:
        """They are told, and stop nothing."""
        large = gzip.compress(LARGE)
        for body, max_bytes, error in (
            (b"no gzip", 1, BadCompression),
            (large[:-1], MAX_BYTES, BadCompression),
            (large, len(LARGE) - 1, TooLarge),
        ):
            failing = self.decompress(body, max_bytes)
            self.clock.pump([1] * 3)
            self.failureResultOf(failing, error)
        self.assert_done(self.decompress(gzip.compress(b"x")), b"x")

    def test_cancelled(self) -> None:
        """While it waits, and while it is under way; the others go on."""
        first = self.decompress(gzip.compress(LARGE))
        second = self.decompress(gzip.compress(LARGE))
        third = self.decompress(gzip.compress(b"small"))
        for each in (second, first):
            each.cancel()
            self.failureResultOf(each, CancelledError)
        self.assert_done(third, b"small")
        self.assertEqual(self.clock.getDelayedCalls(), [])
