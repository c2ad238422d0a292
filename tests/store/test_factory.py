"""
Which stores a URL asks for.
"""

from __future__ import annotations

from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from logplex.config import Settings, Store
from logplex.metrics import Counters
from logplex.store.factory import Stores, make_stores
from logplex.store.memory_spool import MemorySpool
from logplex.store.sqlite import SqliteConfigStore
from tests.threadless import NoThreads


class MakeStoresTests(SynchronousTestCase):
    """By scheme."""

    def stores(self, url: str) -> Stores:
        return make_stores(evolve(Settings(), store=Store(url)), NoThreads(), Counters())

    def test_sqlite_means_a_file_and_a_spool_in_memory(self) -> None:
        stores = self.stores("sqlite:some/where.db")
        self.assertIsInstance(stores.config, SqliteConfigStore)
        self.assertIsInstance(stores.spool, MemorySpool)
        self.assertEqual(stores.directory, Path("some"))
        self.assertIn("some/where.db", stores.name)
        self.assertEqual(stores.troubles(), [])

    def test_memory_leaves_its_owners_files_in_var(self) -> None:
        self.assertEqual(self.stores("memory:").directory, Path("var"))
