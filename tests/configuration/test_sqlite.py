# SPDX-License-Identifier: Apache-2.0

"""
The embedded configuration store, with its thread's work done at once.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from twisted.internet.task import Clock

from logplex.configuration.schema import APPLICATION_ID, check_file
from logplex.configuration.sqlite import SqliteConfigStore
from logplex.interfaces import IConfigStore, StoreAway, StoreUnusable
from logplex.model.values import Channel, Drain, Put
from tests.contracts import AtOnce
from tests.contracts.configuration import (
    CHANNEL,
    ConfigStoreContract,
    DurableConfigStoreContract,
    Replica,
)
from tests.doubles.sqlite import threadless_store

#: The tables of a file of version 1, with one drain.
SCHEMA_1 = f"""
CREATE TABLE channel (id TEXT PRIMARY KEY, name TEXT, flags TEXT) WITHOUT ROWID;
CREATE TABLE token (id TEXT PRIMARY KEY, channel TEXT, name TEXT, created_us INTEGER) WITHOUT ROWID;
CREATE TABLE drain (id INTEGER PRIMARY KEY, channel TEXT, token TEXT, url TEXT);
CREATE TABLE credential
    (id TEXT PRIMARY KEY, secret TEXT, name TEXT, full_api INTEGER, channel TEXT) WITHOUT ROWID;
CREATE TABLE session (id TEXT PRIMARY KEY, body BLOB, expires_s REAL) WITHOUT ROWID;
CREATE INDEX session_expiry ON session (expires_s);
CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER) WITHOUT ROWID;
INSERT INTO drain VALUES (1, 'c', 'd.1', 'http://h/');
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = 1;
"""


class InMemoryTests(ConfigStoreContract, AtOnce):
    """``memory:``"""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)

    async def empty_store(self) -> IConfigStore:
        store = threadless_store(self.clock)
        self.addCleanup(store.close)
        return store

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)


class FileTests(DurableConfigStoreContract, AtOnce):
    """``sqlite:FILE``"""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.path = Path(self.mktemp()) / "new" / "logplex.db"

    def store(self) -> SqliteConfigStore:
        store = threadless_store(self.clock, str(self.path))
        self.addCleanup(store.close)
        return store

    async def empty_store(self) -> IConfigStore:
        return self.store()

    async def another_store(self) -> IConfigStore:
        return self.store()

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def refusal(self) -> str:
        """Why the store cannot be opened, and why a check says so before: one line."""
        checked = self.assertRaises(StoreUnusable, check_file, str(self.path))
        failure = self.failureResultOf(self.store().open(Replica()), StoreUnusable)
        reason = str(failure.value)
        self.assertNotIn("\n", reason)
        self.assertIn(str(self.path), reason)
        self.assertEqual(str(checked), reason)
        return reason

    def test_a_check_does_not_keep_the_file_locked(self) -> None:
        check_file(str(self.path))
        self.successResultOf(self.store().open(Replica()))

    def test_the_file_is_for_its_owner_only(self) -> None:
        self.successResultOf(self.store().open(Replica()))
        for path in self.path.parent.iterdir():
            self.assertEqual(path.stat().st_mode & 0o777, 0o600, path)

    def test_an_answered_change_is_in_the_file(self) -> None:
        store = self.store()
        self.successResultOf(store.open(Replica()))
        self.successResultOf(store.commit([Put(CHANNEL)]))
        copies = Path(self.mktemp())
        copies.mkdir()
        for path in self.path.parent.iterdir():
            (copies / path.name).write_bytes(path.read_bytes())
        replica = Replica()
        copied = threadless_store(self.clock, str(copies / self.path.name))
        self.addCleanup(copied.close)
        self.successResultOf(copied.open(replica))
        self.assertEqual(replica.known(), {CHANNEL})

    def test_a_commit_is_whole_or_not_at_all(self) -> None:
        store, replica = self.store(), Replica()
        self.successResultOf(store.open(replica))
        too_large = Drain(2**70, "c", "d.1")
        self.failureResultOf(store.commit([Put(CHANNEL), Put(too_large)]), OverflowError)
        self.assertEqual(replica.known(), set())
        self.successResultOf(store.commit([Put(Channel("later"))]))
        kept = Replica()
        self.successResultOf(store.open(kept))
        self.assertEqual(kept.known(), {Channel("later")})

    def test_a_file_that_is_open_elsewhere_is_refused(self) -> None:
        first = self.store()
        self.successResultOf(first.open(Replica()))
        self.assertIn("in use by another process", self.refusal())
        self.successResultOf(first.close())
        self.successResultOf(self.store().open(Replica()))

    def test_another_program_may_read_it_meanwhile(self) -> None:
        store = self.store()
        self.successResultOf(store.open(Replica()))
        self.successResultOf(store.commit([Put(CHANNEL)]))
        copy = str(self.path) + ".backup"
        with (
            closing(sqlite3.connect(self.path)) as theirs,
            closing(sqlite3.connect(copy)) as target,
        ):
            theirs.backup(target)
        self.successResultOf(store.commit([Put(Channel("later"))]))
        replica = Replica()
        copied = threadless_store(self.clock, copy)
        self.addCleanup(copied.close)
        self.successResultOf(copied.open(replica))
        self.assertEqual(replica.known(), {CHANNEL})

    def test_a_file_of_another_kind_is_refused_and_left_alone(self) -> None:
        self.path.parent.mkdir(parents=True)
        self.path.write_text("[node]\n" * 1_000)
        self.assertIn("not an SQLite database", self.refusal())
        self.assertEqual(self.path.read_text(), "[node]\n" * 1_000)

    def test_another_programs_database_is_refused_and_left_alone(self) -> None:
        self.path.parent.mkdir(parents=True)
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("CREATE TABLE theirs (id)")
        before = self.path.read_bytes()
        self.assertIn("another program", self.refusal())
        self.assertEqual(self.path.read_bytes(), before)

    def test_an_older_file_gets_the_tables_of_today(self) -> None:
        self.path.parent.mkdir(parents=True)
        with closing(sqlite3.connect(self.path)) as connection:
            connection.executescript(SCHEMA_1)
        store = self.store()
        replica = Replica()
        self.successResultOf(store.open(replica))
        self.assertEqual(replica.known(), {Drain(1, "c", "d.1", "http://h/")})
        durable = Drain(1, "c", "d.1", "http://h/", durable=True)
        self.successResultOf(store.commit([Put(durable)]))
        self.successResultOf(store.close())
        again = Replica()
        self.successResultOf(self.store().open(again))
        self.assertEqual(again.known(), {durable})

    def test_a_newer_file_is_refused(self) -> None:
        store = self.store()
        self.successResultOf(store.open(Replica()))
        self.successResultOf(store.close())
        connection = sqlite3.connect(self.path)
        connection.execute("PRAGMA user_version = 3")
        connection.close()
        self.assertIn("a newer Logplex wrote it (schema 3, this one knows 2)", self.refusal())

    def test_a_directory_that_cannot_be_made_is_refused(self) -> None:
        self.path.parent.parent.mkdir()
        self.path.parent.write_text("a file")
        self.assertIn("cannot be opened", self.refusal())

    def test_a_path_that_is_a_directory_is_refused(self) -> None:
        self.path.mkdir(parents=True)
        self.assertIn("unable to open", self.refusal())

    def test_a_full_disk_means_away_and_changes_nothing(self) -> None:
        store, replica = self.store(), Replica()
        self.successResultOf(store.open(replica))
        [connection] = store._pool.connections.values()
        connection.execute("PRAGMA max_page_count = 10")
        big = [Put(Channel(str(n), "x" * 10_000)) for n in range(20)]
        failure = self.failureResultOf(store.commit(big), StoreAway)
        self.assertIn("full", str(failure.value))
        self.assertEqual(replica.known(), set())

    def test_a_closed_store_is_away(self) -> None:
        store = self.store()
        self.successResultOf(store.open(Replica()))
        self.successResultOf(store.close())
        self.failureResultOf(store.commit([Put(CHANNEL)]), StoreAway)
        self.failureResultOf(store.get_session("x"), StoreAway)

    def test_expired_sessions_are_removed(self) -> None:
        store = self.store()
        self.successResultOf(store.open(Replica()))
        for n in range(50):
            self.successResultOf(store.put_session(str(n), b"{}", 360.0))
        self.clock.advance(360.0)
        self.successResultOf(store.put_session("last", b"{}", 360.0))
        [connection] = store._pool.connections.values()
        self.assertEqual(connection.execute("SELECT id FROM session").fetchall(), [("last",)])
