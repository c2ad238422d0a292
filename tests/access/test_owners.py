# SPDX-License-Identifier: Apache-2.0

"""The owners of sessions."""

from __future__ import annotations

import json

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from logplex.access.credentials import hash_secret
from logplex.access.owners import Owner, owner_of, parse_owner
from logplex.model.session import is_session_id
from logplex.model.values import Credential

CREDENTIAL = Credential("one", hash_secret("secret"), channel="app")


class OwnerTests(SynchronousTestCase):
    def may_read(self, owner: Owner, *known: Credential) -> bool:
        return owner.may_read({each.id: each for each in known}.get)

    def test_there_and_back(self) -> None:
        """An owner is kept with the channel of its session, and without the password."""
        owner = owner_of(CREDENTIAL, "app")
        self.assertEqual(owner, parse_owner(owner.body()))
        self.assertEqual("app", json.loads(owner.body())["channel_id"])
        self.assertNotIn(CREDENTIAL.secret.encode(), owner.body())
        for other in (None, b"", b"[]", b"{}", b"\xff"):
            self.assertIsNone(parse_owner(other))

    def test_ends_with_its_credential(self) -> None:
        owner = owner_of(CREDENTIAL, "app")
        self.assertTrue(self.may_read(owner, CREDENTIAL))
        self.assertTrue(self.may_read(owner, evolve(CREDENTIAL, name="renamed")))
        self.assertFalse(self.may_read(owner))
        self.assertFalse(self.may_read(owner, evolve(CREDENTIAL, secret="other")))
        self.assertFalse(self.may_read(owner, evolve(CREDENTIAL, channel="other")))

    def test_is_no_session(self) -> None:
        """Its key cannot be read as a session's."""
        self.assertFalse(is_session_id("01234567-89ab-cdef-0123-456789abcdef.owner"))
