# SPDX-License-Identifier: Apache-2.0

"""The router: the channel of each message, and the counts."""

from __future__ import annotations

from random import Random

from attrs import evolve
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from logplex.live import Live
from logplex.metrics import Counters
from logplex.model.rods import Rods
from logplex.model.values import NO_REDIS, Channel, Delete, Put, Token
from logplex.routing.activity import count_sources
from logplex.routing.firehose import Firehose
from logplex.routing.registry import Registry
from logplex.routing.router import Router
from logplex.settings import FirehoseSettings, Limits
from tests.doubles.interfaces import ListOutlet, RecordingSpool

ONE = "t.11111111-1111-4111-8111-111111111111"
TWO = "t.22222222-2222-4222-8222-222222222222"
ALIEN = "t.99999999-9999-4999-8999-999999999999"


def frame(token: str, text: str) -> bytes:
    return f"<13>1 2026-01-01T00:00:00+00:00 h {token} web.1 - - {text}".encode()


class RouterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.registry = Registry()
        self.registry.loaded(
            [
                Channel("one"),
                Channel("two"),
                Token(ONE, "one", "app"),
                Token(TWO, "two", "router"),
            ]
        )
        self.spool = RecordingSpool()
        self.rods = Live(Rods())
        self.counters = Counters()
        self.router = Router(
            self.registry,
            self.spool,
            self.rods,
            self.counters,
            clock=self.clock,
            limits=Live(Limits()),
            firehose=Firehose(FirehoseSettings(), self.registry, self.rods, Random(1)),
        )
        self.drain = ListOutlet()
        self.registry.attach("one", self.drain)

    def test_a_message_goes_to_its_channel_with_its_tokens_name(self) -> None:
        self.router.route([frame(ONE, "hello")])
        self.assertEqual(self.drain.messages, [frame("app", "hello")])
        self.assertEqual(self.spool.appended, [("one", [frame("app", "hello")], True)])

    def test_a_chunk_reaches_each_channel_in_one_call_and_in_order(self) -> None:
        self.router.route(
            [frame(ONE, "1"), frame(TWO, "2"), frame(ONE, "3"), frame(TWO, "4"), frame(ONE, "5")]
        )
        self.assertEqual(
            self.drain.calls, [[frame("app", "1"), frame("app", "3"), frame("app", "5")]]
        )
        self.assertEqual([channel for channel, _, _ in self.spool.appended], ["one", "two"])

    def test_the_next_chunk_starts_empty(self) -> None:
        self.router.route([frame(ONE, "1")])
        self.router.route([frame(ONE, "2")])
        self.assertEqual(self.drain.calls, [[frame("app", "1")], [frame("app", "2")]])

    def test_two_tokens_of_one_channel_share_its_order(self) -> None:
        self.registry.changed([Put(Token(ALIEN, "one", "heroku"))])
        self.router.route([frame(ONE, "1"), frame(ALIEN, "2"), frame(ONE, "3")])
        self.assertEqual(
            self.drain.calls, [[frame("app", "1"), frame("heroku", "2"), frame("app", "3")]]
        )

    def test_only_the_first_occurrence_of_the_token_is_replaced(self) -> None:
        self.router.route([frame(ONE, f"my token is {ONE}")])
        self.assertEqual(self.drain.messages, [frame("app", f"my token is {ONE}")])

    def test_the_name_is_put_in_literally(self) -> None:
        self.registry.changed([Put(Token(ONE, "one", r"a&\1\g<0>"))])
        self.router.route([frame(ONE, "x")])
        self.assertEqual(self.drain.messages, [frame(r"a&\1\g<0>", "x")])

    def test_unknown_tokens_are_dropped_and_counted(self) -> None:
        self.router.route([frame(ALIEN, "1"), b"<42> blafasel", b"", frame(ONE, "2")])
        self.assertEqual(self.counters.unknown_token, 3)
        self.assertEqual(self.counters.received, 4)
        self.assertEqual(self.counters.processed, 1)
        self.assertEqual(self.drain.messages, [frame("app", "2")])

    def test_a_token_whose_channel_is_unknown_is_counted_as_such(self) -> None:
        self.registry.changed([Put(Token(ALIEN, "nowhere", "app"))])
        self.router.route([frame(ALIEN, "1")])
        self.router.route_as(ALIEN.encode(), [b"2", b"3"])
        self.assertEqual(self.counters.unknown_channel, 3)
        self.assertEqual(self.counters.unknown_token, 0)

    def test_a_flood_of_unknown_tokens_is_one_line_a_minute_without_the_token(self) -> None:
        with capturedLogs() as captured:
            for _ in range(100):
                self.router.route([frame(ALIEN, "x")])
            self.clock.advance(60)
            self.router.route([frame(ALIEN, "x")])
        warnings = [event for event in captured if event["log_level"] == LogLevel.warn]
        self.assertEqual([event["messages"] for event in warnings], [1, 100])
        self.assertNotIn(ALIEN, repr(warnings))
        self.assertIn("t.99999999", warnings[0]["token"])

    def test_frames_of_an_authenticated_token_go_to_its_channel_whatever_they_are(self) -> None:
        self.router.route_as(ONE.encode(), [b"<42> blafasel", frame(TWO, "x"), frame(ONE, "y")])
        self.assertEqual(self.drain.calls, [[b"<42> blafasel", frame(TWO, "x"), frame("app", "y")]])

    def test_activity(self) -> None:
        """Each channel has its counts; those that cost time are counted only on demand."""
        self.clock.advance(7)
        self.router.route([frame(ONE, "x"), frame(TWO, "x"), frame(ONE, "x")])
        one = self.router.activity("one")
        assert one is not None
        self.assertEqual((one.received, one.received_at), (2, 7.0))
        self.assertEqual((one.received_bytes, one.sources), (0, {}))
        self.assertIsNone(self.router.activity("three"))
        self.assertEqual([each for each, _ in self.router.activities()], ["one", "two"])
        self.router.watch()
        self.router.route([frame(ONE, "x")])
        self.router.route_as(ONE.encode(), [frame(ONE, "x")])
        self.clock.advance(15)
        self.router.route([frame(ONE, "x")])
        self.assertEqual(one.received, 5)
        self.assertEqual(one.received_bytes, 2 * len(frame("app", "x")))
        self.assertEqual(one.sources, {("app", "web.1"): 2})

    def test_sources(self) -> None:
        message = b"<1>1 t h app web.1 - - x"
        other = b"<1>1 t h caf\xe9 web.1 - - x"
        self.assertEqual(
            count_sources([message, other, message, b"<192>1 t h app web.1 - - x", b"x"]),
            {("app", "web.1"): 2, ("caf\ufffd", "web.1"): 1},
        )

    def test_sources_are_bounded(self) -> None:
        self.router.watch()
        for number in range(201):
            self.router.route([frame(ONE, "x").replace(b"web.1", b"web.%d" % number)] * 2)
        one = self.router.activity("one")
        assert one is not None
        self.assertEqual(len(one.sources), 200)
        self.assertEqual(set(one.sources.values()), {2})

    def test_unreadable(self) -> None:
        """A message that is shown to no reader is counted when it comes, and its channel knows."""
        bad = [
            frame(ONE, "x").replace(b"<13>1", head)
            for head in (b"<192>1", b"<14>2", b"<14>", b"<014>1", b"14", b"<14>1.0")
        ]
        short = f"<13>1 now h {ONE} web.1".encode()
        self.router.route([*bad, short, frame(TWO, "x")], len(bad))
        self.router.route_as(ONE.encode(), [*bad, short], len(bad))
        one, two = self.router.activity("one"), self.router.activity("two")
        assert one is not None
        assert two is not None
        self.assertEqual(one.dropped, {"unreadable": 2 * len(bad) + 2})
        self.assertEqual(two.dropped, {})
        self.assertEqual(self.counters.unreadable, 2)

    def test_no_frames_are_no_call(self) -> None:
        self.router.route([])
        self.router.route_as(ONE.encode(), [])
        self.assertEqual((self.drain.calls, self.spool.appended), ([], []))

    def test_a_channel_flagged_no_redis_is_not_kept(self) -> None:
        self.registry.changed([Put(Channel("one", flags=frozenset({NO_REDIS})))])
        self.router.route([frame(ONE, "x")])
        self.assertEqual(self.spool.appended[0][2], False)
        self.assertEqual(len(self.drain.messages), 1)

    def test_the_rods_hold_back_spool_and_drains(self) -> None:
        self.rods.now = evolve(self.rods.now, deny_redis_buffers=True)
        self.rods.now = evolve(self.rods.now, deny_drain_forwarding=True)
        self.router.route([frame(ONE, "x")])
        self.assertEqual(self.spool.appended, [("one", [frame("app", "x")], False)])
        self.assertEqual(self.drain.messages, [])

    def test_a_notice_goes_everywhere_but_to_whom_it_is_about(self) -> None:
        other = ListOutlet()
        self.registry.attach("one", other)
        self.router.tell("one", b"notice", self.drain)
        self.router.tell("nowhere", b"notice", None)
        self.assertEqual((self.drain.messages, other.messages), ([], [b"notice"]))
        self.assertEqual(self.spool.appended, [("one", [b"notice"], True)])
        self.assertEqual(self.counters.received, 0)

    def test_a_bug_in_one_outlet_costs_only_itself(self) -> None:
        class Broken(ListOutlet):
            def push(self, messages: list[bytes]) -> None:
                raise ZeroDivisionError

        self.registry.detach("one", self.drain)
        self.registry.attach("one", Broken())
        self.registry.attach("one", self.drain)
        self.router.route([frame(ONE, "x")])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.drain.messages, [frame("app", "x")])
        self.assertEqual(len(self.spool.appended), 1)

    def test_a_bug_in_the_spool_costs_only_what_it_was_given(self) -> None:
        """The chunk's other channels get their messages, and the next chunk begins empty."""

        class Broken(RecordingSpool):
            def append(self, channel_id: str, messages: list[bytes], keep: bool = True) -> None:
                if channel_id == "two":
                    raise ZeroDivisionError
                super().append(channel_id, messages, keep)

        self.router.spool = spool = Broken()
        self.router.route([frame(TWO, "1"), frame(ONE, "2")])
        self.router.route([frame(ONE, "3")])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(
            [messages for _, messages, _ in spool.appended],
            [[frame("app", "2")], [frame("app", "3")]],
        )
        self.assertEqual(self.drain.messages, [frame("app", "2"), frame("app", "3")])

    def test_a_deleted_token_is_a_stranger(self) -> None:
        self.registry.changed([Delete(Token, ONE)])
        self.router.route([frame(ONE, "x")])
        self.assertEqual(self.counters.unknown_token, 1)
