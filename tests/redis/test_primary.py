# SPDX-License-Identifier: Apache-2.0

"""
Links that find the primary of a Redis together.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from logplex.redis.address import RedisAddress
from logplex.redis.link import RedisLink
from logplex.redis.primary import Primary
from tests.redis.test_link import GREETED, REPLICA, ScriptedEndpoint


class PrimaryTests(SynchronousTestCase):
    """Two links."""

    def setUp(self) -> None:
        self.clock, self.endpoint = Clock(), ScriptedEndpoint()
        self.events: list[str] = []
        self.primary = Primary(RedisAddress("h"), self.endpoint, self.clock, lambda: 1.0)

    def link(self, name: str) -> RedisLink:
        link = self.primary.connect(name=name, down=lambda: self.events.append(name))
        link.start()
        self.addCleanup(link.stop)
        self.endpoint.says(GREETED)
        return link

    def test_one_that_finds_a_replica_ends_the_connections_of_all(self) -> None:
        self.link("one")
        self.link("two")
        self.clock.pump([0.3] * 3)
        self.endpoint.says(REPLICA)
        self.assertEqual(sorted(self.events), ["one", "two"])

    def test_a_link_that_found_the_new_primary_keeps_it(self) -> None:
        """Links that end because another one found a replica do not end others in turn."""
        self.link("one")
        self.link("two")
        self.clock.pump([0.3] * 3)
        self.endpoint.says(REPLICA)
        self.clock.advance(0.1)
        self.endpoint.says(GREETED)
        self.clock.pump([0.3] * 2)
        self.assertEqual((len(self.events), self.endpoint.attempts), (2, 4))
