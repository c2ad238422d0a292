# SPDX-License-Identifier: Apache-2.0

"""
One shard as a node sees it, over links that a test holds in its hands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgpack
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from logplex.interfaces import StoreAway
from logplex.metrics import Counters
from logplex.redis.connection import Refused
from logplex.spool.cluster.shard.follower import Following
from logplex.spool.cluster.shard.outbox import Outbox, OutboxBounds
from logplex.spool.cluster.shard.shard import Identity, Shard
from logplex.spool.cluster.shard.writer import WritingTimes
from logplex.spool.cluster.wire.history import reading
from logplex.spool.cluster.wire.scripts import APPEND, OPEN, Origin, Piece
from tests.doubles.followers import Diary

ORIGIN = Origin(b"node", b"1")
LIVE = "logplex:live:3:c"
SCRIPTS = {each.sha: each for each in (OPEN, APPEND)}


class FakeLink:
    """A link whose commands wait for the test to answer them."""

    def __init__(
        self,
        purpose: str,
        up: Callable[[], None],
        down: Callable[[], None],
        received: Callable[[bytes, bytes], None] | None = None,
    ) -> None:
        self.purpose, self.up, self.down, self.received = purpose, up, down, received
        self.connected = False
        self.asked: list[tuple[tuple[Any, ...], Deferred[Any]]] = []

    @property
    def trouble(self) -> str | None:
        return None if self.connected else f"{self.purpose} is away"

    def start(self) -> None:
        pass

    def stop(self) -> Deferred[None]:
        self.connected = False
        self._fail()
        return succeed(None)

    def ask(self, *command: Any) -> Deferred[Any]:
        if not self.connected:
            return fail(StoreAway())
        answer: Deferred[Any] = Deferred()
        self.asked.append((command, answer))
        return answer

    def ask_all(self, commands: Sequence[Any]) -> Deferred[list[Any]]:
        return self.ask(*commands)

    def come(self) -> None:
        self.connected = True
        self.up()

    def go(self) -> None:
        self.connected = False
        self._fail()
        self.down()

    def next(self) -> tuple[Any, ...]:
        """The command that waits longest, and the name of its script."""
        command = self.asked[0][0]
        if command[0] == "EVALSHA":
            return (SCRIPTS[command[1]], *command[3:])
        return command

    def answer(self, value: Any) -> None:
        """Answer the command that waits longest."""
        _, answer = self.asked.pop(0)
        answer.errback(value) if isinstance(value, Exception) else answer.callback(value)

    def _fail(self) -> None:
        asked, self.asked = self.asked, []
        for _, answer in asked:
            answer.errback(StoreAway())


def history(last: int, own_batch: int = 0) -> list[Any]:
    return [b"OK", *[b"QUEUED"] * 3, [b"%d" % last, b"%d" % own_batch, []]]


class ShardTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.counters = Clock(), Counters()
        self.links: dict[str, FakeLink] = {}
        self.following = Following()
        self.shard = Shard(
            Identity("a", "redis://a", 3, ORIGIN),
            self.connect,
            self.clock,
            WritingTimes(),
            Outbox(OutboxBounds(), self.counters),
        )
        self.writing, self.reading, self.listening = self.links.values()

    def connect(
        self,
        purpose: str,
        up: Callable[[], None],
        down: Callable[[], None],
        received: Callable[[bytes, bytes], None] | None = None,
    ) -> FakeLink:
        link = self.links[purpose] = FakeLink(purpose, up, down, received)
        return link

    def introduce(self) -> None:
        self.writing.answer(b"# Server\r\nrun_id:abc\r\n")
        self.writing.answer(history(0))
        self.writing.answer(0)

    def come(self) -> None:
        for link in self.links.values():
            link.come()
        self.introduce()

    def follow(self, last: int = 10) -> Diary:
        diary = self.diary()
        following = Deferred.fromCoroutine(self.shard.follow("c", self.following))
        self.listening.answer([b"subscribe", LIVE.encode(), 1])
        self.reading.answer(history(last))
        self.successResultOf(following)
        return diary

    def diary(self) -> Diary:
        """Return a follower of the channel, on any shard."""
        diary = Diary()
        self.following.begin(diary)
        self.following.finish(diary)
        return diary

    def publish(self, first: int, batch: int, *messages: bytes, by: bytes = b"other") -> None:
        last, payload = first + len(messages) - 1, Piece.pack("c", 0, messages).payload
        assert self.listening.received is not None
        self.listening.received(
            LIVE.encode(), b"%d %d %d 1 %b\n" % (last, first - 1, batch, by) + payload
        )


class PresenceTests(ShardTestCase):
    def test_it_is_present_when_all_three_links_are_and_it_was_introduced(self) -> None:
        present = self.shard.when_present()
        self.reading.come()
        self.writing.come()
        self.introduce()
        self.assertFalse(self.shard.present)
        self.assertEqual(self.shard.trouble, "listening is away")
        self.listening.come()
        self.assertTrue(self.shard.present)
        self.assertIsNone(self.shard.trouble)
        self.successResultOf(present)

    def test_its_absences_are_counted_and_not_the_links_that_are_lost(self) -> None:
        self.come()
        for link in self.links.values():
            link.go()
        self.assertEqual(self.shard.absences, 1)
        self.come()
        self.reading.go()
        self.assertEqual(self.shard.absences, 2)

    def test_the_introduction_tells_which_process_it_is(self) -> None:
        self.writing.come()
        self.assertEqual(self.writing.next(), ("INFO", "server"))
        self.writing.answer(b"# Server\r\nredis_version:7\r\nrun_id:abc\r\n")
        self.writing.answer(history(0))
        self.assertEqual(self.writing.next(), (OPEN, b"abc", "logplex:live:3:"))

    def test_a_server_that_does_not_tell_is_used_all_the_same(self) -> None:
        self.writing.come()
        self.writing.answer(Refused("NOPERM"))
        self.writing.answer(history(0))
        self.assertEqual(self.writing.next(), (OPEN, b"unknown", "logplex:live:3:"))

    def test_a_script_that_is_not_known_is_told(self) -> None:
        self.writing.come()
        self.writing.answer(b"run_id:abc")
        self.writing.answer(history(0))
        self.writing.answer(Refused("NOSCRIPT No matching script"))
        self.assertEqual(self.writing.next(), ("EVAL", OPEN.source, 0, b"abc", "logplex:live:3:"))

    def test_who_may_not_write_is_asked_again_later(self) -> None:
        for link in self.links.values():
            link.come()
        for error in ("Error running script: -READONLY You can't write", "NOPERM no"):
            self.writing.answer(b"run_id:abc")
            self.writing.answer(history(0))
            self.writing.answer(Refused(error))
            self.assertFalse(self.shard.present)
            self.assertEqual(self.shard.trouble, f"shard a is away: {error}")
            self.clock.advance(1.0)
        self.introduce()
        self.assertTrue(self.shard.present)

    def test_writing_goes_on_without_the_other_links(self) -> None:
        self.come()
        self.reading.go()
        self.listening.go()
        self.shard.append("c", [b"1"], True)
        self.clock.advance(0.05)
        self.assertEqual(self.writing.next()[0], APPEND)

    def test_closing_writes_what_waits_and_leaves_nothing(self) -> None:
        self.come()
        self.shard.append("c", [b"1"], True)
        closing = Deferred.fromCoroutine(self.shard.close(5.0))
        self.writing.answer(msgpack.packb([[], []]))
        self.successResultOf(closing)
        self.assertEqual(self.counters.spool_written, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_closing_does_not_wait_for_ever(self) -> None:
        self.come()
        self.shard.append("c", [b"1"], True)
        closing = Deferred.fromCoroutine(self.shard.close(5.0))
        self.clock.advance(5.0)
        self.successResultOf(closing)
        self.assertEqual(self.counters.spool_dropped, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class FollowingTests(ShardTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.come()

    def test_the_subscription_comes_before_the_reading(self) -> None:
        diary = self.diary()
        following = Deferred.fromCoroutine(self.shard.follow("c", self.following))
        self.assertEqual(self.listening.next(), ("SUBSCRIBE", LIVE))
        self.assertEqual(self.reading.asked, [])
        self.listening.answer([b"subscribe", LIVE.encode(), 1])
        self.publish(11, 1, b"early")
        self.publish(12, 2, b"late")
        self.assertEqual(self.reading.next(), tuple(reading("c", ORIGIN, None)))
        self.assertNoResult(following)
        self.reading.answer(history(11))
        self.successResultOf(following)
        self.assertEqual(diary.since(), [(12, b"late")])

    def test_the_last_who_leaves_ends_the_subscription(self) -> None:
        Deferred.fromCoroutine(self.shard.follow("c", self.following))
        self.listening.answer([])
        self.shard.followers.leave("c")
        self.assertEqual(self.listening.next(), ("UNSUBSCRIBE", LIVE))

    def test_what_is_no_batch_is_passed_over(self) -> None:
        diary = self.follow()
        assert self.listening.received is not None
        with capturedLogs() as events:
            for _ in range(30):
                self.listening.received(LIVE.encode(), b"hello")
                self.listening.received(b"elsewhere", b"hello")
        self.assertEqual(len(events), 10)
        self.publish(11, 1, b"a")
        self.assertEqual(diary.since(), [(11, b"a")])

    def test_a_lost_subscription_is_made_again_and_what_is_known_is_not_read(self) -> None:
        diary = self.follow()
        self.listening.go()
        self.assertEqual(diary.since(), ["interrupted"])
        self.listening.come()
        self.assertEqual(self.listening.next(), ("SUBSCRIBE", LIVE))
        self.listening.answer([])
        self.reading.answer(history(10))
        self.assertEqual(diary.since(), ["resumed"])
        self.assertEqual(self.reading.asked, [])

    def test_own_messages_are_told_at_once_while_it_is_away_and_not_again(self) -> None:
        diary = self.follow()
        self.shard.append("c", [b"waits"], True)
        self.listening.go()
        self.shard.append("c", [b"new"], True)
        self.assertEqual(diary.since(), ["interrupted", b"waits", b"new"])
        self.listening.come()
        self.listening.answer([])
        self.reading.answer(history(10))
        self.shard.append("c", [b"next"], True)
        self.clock.advance(0.05)
        for number in range(3):
            (_, _, _, batch, *_, payload) = self.writing.next()
            self.writing.answer(msgpack.packb([[1], []]))
            (message,) = msgpack.unpackb(payload, raw=True)
            self.publish(11 + number, batch, message, by=b"node")
        self.assertEqual(diary.since(), ["resumed", (13, b"next")])

    def test_a_reading_that_fails_is_tried_again(self) -> None:
        diary = self.follow()
        self.listening.go()
        self.listening.come()
        self.listening.answer([])
        self.reading.answer([Refused("NOPERM")] * 4 + [Refused("EXECABORT")])
        self.assertFalse(self.shard.present)
        self.clock.advance(1.0)
        self.listening.answer([])
        self.reading.answer(history(10))
        self.assertEqual(diary.since(), ["interrupted", "resumed"])

    def test_following_a_shard_that_goes_away_meanwhile(self) -> None:
        diary = self.diary()
        following = Deferred.fromCoroutine(self.shard.follow("c", self.following))
        self.listening.answer([])
        self.reading.go()
        self.successResultOf(following)
        self.assertEqual(diary.since(), ["interrupted"])

    def test_a_shard_that_goes_during_the_catching_up_begins_again(self) -> None:
        diary = self.follow()
        self.listening.go()
        self.listening.come()
        self.listening.answer([])
        self.writing.go()
        self.reading.answer(history(10))
        self.assertTrue(self.shard.followers.away_from("c"))
        self.writing.come()
        self.introduce()
        self.listening.answer([])
        self.reading.answer(history(10))
        self.assertEqual(diary.since(), ["interrupted", "resumed"])

    def test_reading_waits_for_ones_own_writes_but_not_long(self) -> None:
        self.shard.append("c", [b"1"], True)
        reading = Deferred.fromCoroutine(self.shard.history("c"))
        self.assertEqual(self.reading.asked, [])
        self.clock.advance(1.0)
        self.reading.answer(history(10))
        found = self.successResultOf(reading)
        self.assertEqual(found and found.last, 10)

    def test_while_it_is_away_there_is_what_waits_for_it(self) -> None:
        self.shard.append("c", [b"1"], True)
        self.writing.go()
        self.shard.append("c", [b"2", b"3"], True)
        self.assertIsNone(self.successResultOf(Deferred.fromCoroutine(self.shard.history("c"))))
        self.assertEqual(self.shard.outbox.to_be_kept("c"), [b"1", b"2", b"3"])
        self.assertEqual(self.shard.outbox.to_be_kept("other"), [])
