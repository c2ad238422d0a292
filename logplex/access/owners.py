# SPDX-License-Identifier: Apache-2.0

"""
The owner of a session: the stored credential that opened the session.

The store keeps the owner beside the session. A session ends when its owner is deleted, gets another
password, or may not read the channel any more. A session has no owner if an Erlang node, the auth
key, or a credential of a settings file opened it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

from attrs import frozen

from logplex.model.values import Credential, may_read


def owner_key(session_id: str) -> str:
    """Return the key under which the store keeps the owner of a session."""
    return f"{session_id}.owner"


@frozen
class Owner:
    """
    The owner of a session: the stored credential that opened the session.

    :ivar fingerprint: the digest of the credential's password, made by :func:`fingerprint`.
    """

    credential_id: str
    fingerprint: str
    channel_id: str

    def body(self) -> bytes:
        """Return the owner as JSON, which the store keeps."""
        shown = {"credential": self.credential_id, "fingerprint": self.fingerprint}
        return json.dumps({"channel_id": self.channel_id, **shown}).encode()

    def may_read(self, find: Callable[[str], Credential | None]) -> bool:
        """
        Return true if the credential still exists, has the same password, and may read the channel.

        :param find: the function that finds a credential of the store by id.
        """
        credential = find(self.credential_id)
        return (
            credential is not None
            and fingerprint(credential) == self.fingerprint
            and may_read(credential, self.channel_id)
        )


def fingerprint(credential: Credential) -> str:
    """
    Return a digest of a credential's password. The digest changes with the password, and does not
    reveal the password.
    """
    return hashlib.sha256(f"session:{credential.id}:{credential.secret}".encode()).hexdigest()[:32]


def owner_of(credential: Credential, channel_id: str) -> Owner:
    """Return the owner of a session, given the credential that opens the session."""
    return Owner(credential.id, fingerprint(credential), channel_id)


def parse_owner(body: bytes | None) -> Owner | None:
    """Parse the JSON that :meth:`Owner.body` returned. Return ``None`` if there is no owner."""
    try:
        kept = json.loads(body or b"")
        return Owner(kept["credential"], kept["fingerprint"], kept["channel_id"])
    except (ValueError, TypeError, KeyError):
        return None
