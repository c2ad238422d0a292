# SPDX-License-Identifier: Apache-2.0

"""The first credential: usable, in a private file, and never lost between file and store."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from logplex.access.authenticator import Authenticator, Basic, Throttle
from logplex.access.credentials import make_first_credential
from logplex.interfaces import StoreAway
from logplex.live import Live
from logplex.metrics import Counters
from logplex.model.values import Change
from logplex.routing.registry import Registry
from logplex.settings import Limits


class Store:
    """The part of a store that is used."""

    def __init__(self, answer: BaseException | None = None) -> None:
        self.committed: list[Change] = []
        self._answer = answer

    def commit(self, changes: Sequence[Change]) -> Deferred[None]:
        if self._answer:
            return fail(self._answer)
        self.committed.extend(changes)
        return succeed(None)


class FirstCredentialTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()) / "deep" / "down"

    def test_what_the_file_says_opens_everything(self) -> None:
        store = Store()
        made = self.successResultOf(make_first_credential(store.commit, self.directory))
        user, _, password = made.path.read_text().rstrip("\n").partition(":")
        registry = Registry()
        registry.changed(store.committed)
        credential = Authenticator(
            registry.credential, [], "", Throttle(Clock(), Live(Limits()), Counters())
        ).credential(Basic(user, password), "address")
        self.assertTrue(credential.full_api)
        self.assertEqual(credential.channel, "any")
        self.assertEqual((made.id, made.password), (user, password))

    def test_only_the_owner_can_read_the_file(self) -> None:
        made = self.successResultOf(make_first_credential(Store().commit, self.directory))
        self.assertEqual(stat.S_IMODE(made.path.stat().st_mode), 0o600)
        self.assertEqual([each.name for each in self.directory.iterdir()], [made.path.name])

    def test_the_store_does_not_get_the_secret_itself(self) -> None:
        store = Store()
        made = self.successResultOf(make_first_credential(store.commit, self.directory))
        self.assertNotIn(made.password, repr(store.committed[0]))

    def test_the_file_of_an_attempt_that_failed_is_replaced(self) -> None:
        self.failureResultOf(
            make_first_credential(Store(StoreAway()).commit, self.directory), StoreAway
        )
        store = Store()
        made = self.successResultOf(make_first_credential(store.commit, self.directory))
        self.assertEqual(made.path.read_text(), f"{made.id}:{made.password}\n")

    def test_a_directory_that_cannot_be_written_is_an_error_at_once(self) -> None:
        self.directory.parent.parent.mkdir()
        self.directory.parent.write_text("a file")
        self.assertRaises(OSError, make_first_credential, Store().commit, self.directory)
