# SPDX-License-Identifier: Apache-2.0

"""Control rods, and the precedence of node, cluster and settings."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from logplex.live import Live
from logplex.model.rods import (
    DISABLED,
    NORMAL,
    READ_ONLY,
    BadPosition,
    Panel,
    Position,
    Rods,
    check_position,
)


class PositionTests(SynchronousTestCase):
    """``check_position``"""

    def test_good(self) -> None:
        good: tuple[tuple[str, Position], ...] = (
            ("deny_logs_ingress", True),
            ("disable_firehose", False),
            ("api_status", READ_ONLY),
        )
        for name, position in good:
            self.assertIs(position, check_position(name, position))

    def test_bad(self) -> None:
        """An unknown rod, or a position that it has not."""
        bad: tuple[tuple[str, object], ...] = (
            ("deny_everything", True),
            ("deny_logs_ingress", 1),
            ("deny_logs_ingress", "true"),
            ("deny_logs_ingress", None),
            ("api_status", True),
            ("api_status", "off"),
            ("legacy_api_status", ["normal"]),
        )
        for name, position in bad:
            with self.assertRaises(BadPosition):
                check_position(name, position)


class PanelTests(SynchronousTestCase):
    """:class:`Panel`"""

    def setUp(self) -> None:
        self.rods = Live(Rods(api_status=READ_ONLY))
        self.obeyed: list[str] = []
        self.panel = Panel(self.rods)
        self.panel.observe(lambda: self.obeyed.append(self.rods.now.api_status))

    def test_thrown(self) -> None:
        """At once, and everybody is told when it stands so."""
        self.panel.throw({"api_status": DISABLED, "deny_tail_sessions": True})
        self.assertEqual(
            (DISABLED, True), (self.rods.now.api_status, self.rods.now.deny_tail_sessions)
        )
        self.assertEqual([DISABLED], self.obeyed)

    def test_who_wins(self) -> None:
        """This node over the cluster, the cluster over the configuration."""
        self.panel.share({"api_status": DISABLED})
        self.assertEqual(DISABLED, self.rods.now.api_status)
        self.panel.throw({"api_status": NORMAL})
        self.assertEqual(NORMAL, self.rods.now.api_status)
        self.panel.configure(Rods(api_status=READ_ONLY))
        self.assertEqual(NORMAL, self.rods.now.api_status)

    def test_back(self) -> None:
        """A rod that is thrown back shows the position that it had covered."""
        self.panel.share({"api_status": DISABLED})
        self.panel.throw({"api_status": NORMAL})
        self.panel.throw({"api_status": None})
        self.assertEqual((DISABLED, {}), (self.rods.now.api_status, self.panel.thrown))
        self.panel.share({})
        self.assertEqual(READ_ONLY, self.rods.now.api_status)

    def test_others_stay(self) -> None:
        self.panel.throw({"deny_tail_sessions": True})
        self.panel.throw({"deny_logs_ingress": True})
        self.assertEqual({"deny_tail_sessions": True, "deny_logs_ingress": True}, self.panel.thrown)

    def test_configured_again(self) -> None:
        """SIGHUP changes the rods that have not been thrown."""
        self.panel.configure(Rods(deny_redis_buffers=True, api_status=NORMAL))
        self.assertTrue(self.rods.now.deny_redis_buffers)
        self.assertEqual(NORMAL, self.rods.now.api_status)
