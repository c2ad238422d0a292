# SPDX-License-Identifier: Apache-2.0

"""
The spool that ``[store]`` asks for.
"""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from logplex.interfaces import ISpool, StoreUnusable
from logplex.metrics import Counters
from logplex.settings import Settings, Store
from logplex.spool import make_spool
from logplex.spool.memory import MemorySpool
from tests.doubles.interfaces import as_reactor


class MakeSpoolTests(SynchronousTestCase):
    """By the scheme of ``[store] url``."""

    def spool(self, url: str, **options: Any) -> ISpool:
        settings = evolve(Settings(), store=Store(url, **options))
        return make_spool(settings, as_reactor(MemoryReactorClock()), Counters())

    def test_alone_it_is_in_memory(self) -> None:
        for url in ("sqlite:some/where.db", "memory:"):
            self.assertIsInstance(self.spool(url), MemorySpool)

    def test_in_a_cluster_it_is_on_the_shards(self) -> None:
        spool = self.spool("redis://h/1", shards=("redis://a", "redis://b"))
        self.assertEqual(spool.name, "shards: 2")
        self.assertIn("redis://b", " ".join(spool.troubles()))
        self.assertIn("logplex_shard_present", {sample.name for sample in spool.samples()})
        self.assertIsNotNone(spool.replacement)

    def test_without_shards_it_is_on_the_redis_of_the_configuration(self) -> None:
        self.assertEqual(self.spool("rediss://h").name, "shards: 1")

    def test_shards_of_one_name_are_refused(self) -> None:
        with self.assertRaises(StoreUnusable):
            self.spool("redis://h", shards=("redis://a#one", "redis://b#one"))
