# SPDX-License-Identifier: Apache-2.0

"""
The shards of a node as a value.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from logplex.spool.cluster.topology import Committed, Prepared, Preparing, Settled, Shards
from logplex.spool.cluster.wire.scripts import KEEP, RAISE
from tests.doubles.model_redis import ModelRedis
from tests.doubles.spool_nodes import MOVES_TO_S3, URLS, SpoolNode


class TopologyTests(SynchronousTestCase):
    def setUp(self) -> None:
        node = SpoolNode("one", {url: ModelRedis() for url in URLS}, Clock())
        self.shards = Shards(URLS[:1], node.make_shard)
        settled = self.shards.topology
        assert isinstance(settled, Settled)
        self.settled = settled
        self.new = self.shards.make_set(URLS[::2], settled.all())
        self.preparing = settled.prepare(self.new)
        self.prepared = self.preparing.listen()
        self.committed = self.prepared.commit()

    def homes(self, topology: Settled | Preparing | Prepared | Committed) -> list[str]:
        return [each.name for each in topology.homes(MOVES_TO_S3)]

    def test_a_channel_that_moves_has_two_homes_from_the_first_step_to_the_last(self) -> None:
        values = (
            self.settled,
            self.preparing,
            self.prepared,
            self.committed,
            self.committed.abort(),
            self.committed.settle(),
        )
        old, new = URLS[0], URLS[2]
        self.assertEqual(
            [self.homes(each) for each in values],
            [[old], [old], [old, new], [new, old], [old, new], [new]],
        )

    def test_a_shard_whose_url_stays_is_in_both_sets(self) -> None:
        self.assertEqual([each.name for each in self.prepared.all()], [URLS[0], URLS[2]])
        self.assertEqual(self.committed.only_other(), [])

    def test_a_value_knows_if_its_node_has_committed(self) -> None:
        values = (self.preparing, self.prepared, self.committed, self.committed.abort())
        self.assertEqual([each.has_switched for each in values], [False, False, True, True])
        again = self.committed.settle().prepare(self.shards.make_set(URLS[:1]))
        self.assertFalse(again.listen().has_switched)

    def test_numbers_are_raised_where_a_channel_has_moved_since_the_last_switch(self) -> None:
        self.shards.home(MOVES_TO_S3)
        self.shards.topology = self.committed.settle()
        home = self.shards.home(MOVES_TO_S3)
        self.assertEqual(home.name, URLS[2])
        home.outbox.append(MOVES_TO_S3, [b"1"], True)
        home.outbox.seal()
        assert home.outbox.head is not None
        self.assertEqual([each.flags for each in home.outbox.head.pieces], [KEEP | RAISE])
