"""
Which stores a URL asks for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from logplex.configuration.redis.store import RedisConfigStore
from logplex.configuration.sqlite import SqliteConfigStore
from logplex.interfaces import StoreUnusable
from logplex.metrics import Counters
from logplex.node.stores import Stores, make_stores
from logplex.settings import Settings, Store
from logplex.spool.cluster.spool import RedisSpool
from logplex.spool.memory import MemorySpool
from tests.threadless import NoThreads


class MakeStoresTests(SynchronousTestCase):
    """By scheme."""

    def stores(self, url: str, **options: Any) -> Stores:
        settings = evolve(Settings(), store=Store(url, **options))
        reactor: Any = NoThreads() if not url.startswith("redis") else MemoryReactorClock()
        return make_stores(settings, reactor, Counters())

    def test_sqlite_means_a_file_and_a_spool_in_memory(self) -> None:
        stores = self.stores("sqlite:some/where.db")
        self.assertIsInstance(stores.config, SqliteConfigStore)
        self.assertIsInstance(stores.spool, MemorySpool)
        self.assertEqual(stores.directory, Path("some"))
        self.assertIn("some/where.db", stores.name)
        self.assertEqual(stores.troubles(), [])

    def test_memory_leaves_its_owners_files_in_var(self) -> None:
        self.assertEqual(self.stores("memory:").directory, Path("var"))

    def test_redis_means_a_shared_configuration_and_shards(self) -> None:
        stores = self.stores("redis://user:secret@h/1", shards=("redis://a", "redis://b"))
        self.assertIsInstance(stores.config, RedisConfigStore)
        self.assertIsInstance(stores.spool, RedisSpool)
        self.assertIsNone(stores.directory)
        self.assertEqual(stores.name, "redis://h:6379/1, shards: 2")

    def test_troubles_of_the_configuration_and_of_the_shards_are_told(self) -> None:
        troubles = self.stores(
            "redis://config.example", shards=("redis://shard.example",)
        ).troubles()
        self.assertIn("redis://config.example:6379/0", " ".join(troubles))
        self.assertIn("shard.example", " ".join(troubles))

    def test_both_have_samples(self) -> None:
        names = {sample.name for sample in self.stores("redis://h").samples()}
        self.assertLessEqual({"logplex_store_connected", "logplex_shard_present"}, names)

    def test_certificates_that_cannot_be_read_are_refused(self) -> None:
        with self.assertRaisesRegex(StoreUnusable, "ca_file: "):
            self.stores("rediss://h", ca_file="no/such/file.pem")

    def test_a_file_without_certificates_is_refused(self) -> None:
        path = self.mktemp()
        Path(path).write_text("nothing")
        with self.assertRaisesRegex(StoreUnusable, "holds no certificate in PEM form"):
            self.stores("rediss://h", ca_file=path)
