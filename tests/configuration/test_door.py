# SPDX-License-Identifier: Apache-2.0

"""
The configuration store that ``[store] url`` asks for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from logplex.configuration import make_config_store
from logplex.configuration.redis.store import RedisConfigStore
from logplex.configuration.sqlite import SqliteConfigStore
from logplex.interfaces import IConfigStore, StoreUnusable
from logplex.settings import Store
from tests.doubles.sqlite import NoThreads


class MakeConfigStoreTests(SynchronousTestCase):
    """By scheme."""

    def store(self, url: str, **options: Any) -> IConfigStore:
        reactor: Any = MemoryReactorClock() if url.startswith("redis") else NoThreads()
        return make_config_store(Store(url, **options), reactor)

    def test_a_file(self) -> None:
        store = self.store("sqlite:some/where.db")
        self.assertIsInstance(store, SqliteConfigStore)
        self.assertEqual(store.directory, Path("some"))
        self.assertIn("some/where.db", store.name)

    def test_memory_leaves_its_owners_files_in_var(self) -> None:
        self.assertEqual(self.store("memory:").directory, Path("var"))

    def test_redis(self) -> None:
        store = self.store("redis://user:secret@h/1")
        self.assertIsInstance(store, RedisConfigStore)
        self.assertIsNone(store.directory)
        self.assertEqual(store.name, "redis://h:6379/1")
        self.assertIn("redis://h:6379/1", " ".join(store.troubles()))
        self.assertIn("logplex_store_connected", {sample.name for sample in store.samples()})

    def test_certificates_that_cannot_be_read_are_refused(self) -> None:
        with self.assertRaisesRegex(StoreUnusable, "ca_file: "):
            self.store("rediss://h", ca_file="no/such/file.pem")

    def test_a_file_without_certificates_is_refused(self) -> None:
        path = self.mktemp()
        Path(path).write_text("nothing")
        with self.assertRaisesRegex(StoreUnusable, "holds no certificate in PEM form"):
            self.store("rediss://h", ca_file=path)
