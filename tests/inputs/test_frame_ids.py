# SPDX-License-Identifier: Apache-2.0

"""Frame ids: which are remembered, how long, and how many."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from logplex.inputs.frame_ids import FrameIds, frame_digest
from logplex.live import Live
from logplex.settings import Limits


class FrameIdTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.limits = Live(Limits(logs_frame_ids=3, logs_frame_id_lifetime_s=300))
        self.ids = FrameIds(self.limits, self.clock)

    def known(self, *frame_ids: bytes) -> list[bool]:
        return [self.ids.has(frame_digest(b"sender", each)) for each in frame_ids]

    def test_each_senders_own(self) -> None:
        self.ids.add(frame_digest(b"sender", b"1"))
        self.assertTrue(self.ids.has(frame_digest(b"sender", b"1")))
        self.assertFalse(self.ids.has(frame_digest(b"sender", b"2")))
        self.assertFalse(self.ids.has(frame_digest(b"other", b"1")))

    def test_lifetime(self) -> None:
        self.ids.add(frame_digest(b"sender", b"1"))
        self.clock.advance(299)
        self.assertEqual(self.known(b"1"), [True])
        self.clock.advance(1)
        self.assertEqual(self.known(b"1"), [False])

    def test_given_again(self) -> None:
        """The time counts from the last 204, and so does the age among others."""
        self.ids.add(frame_digest(b"sender", b"1"))
        self.clock.advance(200)
        self.ids.add(frame_digest(b"sender", b"2"))
        self.ids.add(frame_digest(b"sender", b"1"))
        self.clock.advance(200)
        self.ids.add(frame_digest(b"sender", b"3"))
        self.ids.add(frame_digest(b"sender", b"4"))
        self.assertEqual(self.known(b"1", b"2", b"3", b"4"), [True, False, True, True])

    def test_at_most_so_many(self) -> None:
        for each in (b"1", b"2", b"3", b"4"):
            self.ids.add(frame_digest(b"sender", each))
        self.assertEqual(self.known(b"1", b"2", b"3", b"4"), [False, True, True, True])
        self.assertEqual(len(self.ids), 3)

    def test_the_old_do_not_stay(self) -> None:
        self.ids.add(frame_digest(b"sender", b"1"))
        self.ids.add(frame_digest(b"sender", b"2"))
        self.clock.advance(300)
        self.ids.add(frame_digest(b"sender", b"3"))
        self.assertEqual(len(self.ids), 1)

    def test_none(self) -> None:
        """With a bound of 0 every request is new."""
        self.limits.now = evolve(self.limits.now, logs_frame_ids=0)
        self.ids.add(frame_digest(b"sender", b"1"))
        self.assertEqual(self.known(b"1"), [False])
