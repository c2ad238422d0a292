# SPDX-License-Identifier: Apache-2.0

"""The firehose: the messages that are copied, and the channels that never get them."""

from __future__ import annotations

from collections import Counter
from random import Random

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from logplex.live import Live
from logplex.metrics import Counters
from logplex.model.rods import Rods
from logplex.model.values import Channel, Delete, Token
from logplex.routing.firehose import Firehose
from logplex.routing.registry import Registry
from logplex.routing.router import Router
from logplex.settings import FirehoseSettings, Limits
from tests.doubles.interfaces import RecordingSpool

APP, OTHER, OWN = "t.app", "t.other", "t.own"


def frame(token: str, text: str) -> bytes:
    return f"<13>1 2026-01-01T00:00:00+00:00 h {token} web.1 - - {text}".encode()


class FirehoseTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.registry = Registry()
        self.registry.loaded(
            [
                Channel("app"),
                Channel("hose1"),
                Channel("hose2"),
                Token(APP, "app", "app"),
                Token(OTHER, "app", "other"),
                Token(OWN, "hose1", "app"),
            ]
        )
        self.spool = RecordingSpool()
        self.rods = Live(Rods())
        self.route(("hose1", "hose2"), ("app", "heroku"))

    def route(self, channel_ids: tuple[str, ...], names: tuple[str, ...]) -> None:
        self.firehose = Firehose(
            FirehoseSettings(channel_ids, names), self.registry, self.rods, Random(1)
        )
        self.router = Router(
            self.registry,
            self.spool,
            self.rods,
            Counters(),
            clock=Clock(),
            limits=Live(Limits()),
            firehose=self.firehose,
        )

    def kept(self, channel_id: str) -> list[bytes]:
        return [
            message
            for channel, messages, _ in self.spool.appended
            for message in messages
            if channel == channel_id
        ]

    def test_each_message_is_copied_into_one_channel_and_all_get_some(self) -> None:
        for number in range(100):
            self.router.route([frame(APP, str(number))])
        one, two = self.kept("hose1"), self.kept("hose2")
        self.assertEqual(Counter(one + two), Counter(self.kept("app")))
        self.assertGreater(min(len(one), len(two)), 20)
        self.assertEqual(
            {sample.labels["channel"]: sample.value for sample in self.firehose.samples()},
            {"hose1": len(one), "hose2": len(two)},
        )

    def test_only_tokens_with_a_chosen_name_count(self) -> None:
        self.router.route([frame(OTHER, "1"), frame(APP, "2"), frame(OTHER, "3")])
        self.assertEqual(self.kept("hose1") + self.kept("hose2"), [frame("app", "2")])

    def test_the_tokens_name_counts_also_where_the_message_has_another_source(self) -> None:
        self.router.route_as(APP.encode(), [frame("token", "1"), b"<42> blafasel"])
        self.router.route_as(OTHER.encode(), [frame("app", "2")])
        self.assertEqual(
            sorted(self.kept("hose1") + self.kept("hose2")),
            sorted([frame("token", "1"), b"<42> blafasel"]),
        )

    def test_a_firehose_channel_gets_no_copy_of_its_own_messages(self) -> None:
        self.router.route([frame(OWN, str(number)) for number in range(20)])
        self.assertEqual(len(self.kept("hose1")), 20)
        self.assertEqual(len(self.kept("hose2")), 20)
        self.spool.appended.clear()
        self.route(("hose1",), ("app",))
        self.router.route([frame(OWN, "x")])
        self.assertEqual(len(self.kept("hose1")), 1)

    def test_a_channel_that_does_not_exist_loses_nothing(self) -> None:
        self.registry.changed([Delete(Channel, "hose1")])
        self.router.route([frame(APP, str(number)) for number in range(20)])
        self.assertEqual(len(self.kept("hose2")), 20)
        self.registry.changed([Delete(Channel, "hose2")])
        self.router.route([frame(APP, "x")])
        self.assertEqual(len(self.kept("app")), 21)

    def test_the_rod_turns_it_off_and_on_while_running(self) -> None:
        self.rods.now = evolve(self.rods.now, disable_firehose=True)
        self.router.route([frame(APP, "1")])
        self.rods.now = evolve(self.rods.now, disable_firehose=False)
        self.router.route([frame(APP, "2")])
        self.assertEqual(self.kept("hose1") + self.kept("hose2"), [frame("app", "2")])
