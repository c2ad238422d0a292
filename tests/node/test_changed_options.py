# SPDX-License-Identifier: Apache-2.0

"""``logplex.node.reload``: the options that differ between two settings."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from logplex.model.rods import Rods
from logplex.node.reload import changed_options
from logplex.settings import FileCredential, Limits, NodeSettings, Settings


class ChangedOptionsTests(SynchronousTestCase):
    def names(self, old: Settings, new: Settings) -> list[str]:
        return [str(each) for each in changed_options(old, new)]

    def test_equal_settings_differ_in_nothing(self) -> None:
        self.assertEqual(
            self.names(Settings(node=NodeSettings("a")), Settings(node=NodeSettings("a"))), []
        )

    def test_every_option_that_differs_is_named_as_in_the_file(self) -> None:
        old = Settings(node=NodeSettings("a"))
        new = evolve(
            old,
            node=NodeSettings("b"),
            limits=Limits(drains_per_channel=7, notice_interval_s=1.0),
            rods=Rods(deny_tail_sessions=True),
        )
        self.assertEqual(
            self.names(old, new),
            [
                "[node] name",
                "[limits] drains_per_channel",
                "[limits] notice_interval_s",
                "[rods] deny_tail_sessions",
            ],
        )

    def test_a_list_of_tables_is_one_change_without_its_secrets(self) -> None:
        old = Settings(node=NodeSettings("a"))
        new = evolve(old, credentials=(FileCredential("me", "secret"),))
        self.assertEqual(self.names(old, new), ["[[credentials]]"])
