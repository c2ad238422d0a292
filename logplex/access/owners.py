# SPDX-License-Identifier: Apache-2.0

"""
The owner of a session: the stored credential that opened it, with the password of that moment.

The owner is kept beside the session. A session ends with its owner: when the credential is deleted,
gets another password, or may not read the channel any more. A session without owner was opened by
an Erlang node, or by a caller that no store knows: the auth key, a credential of a settings file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

from attrs import frozen

from logplex.model.values import Credential, may_read


def owner_key(session_id: str) -> str:
    """Return the id under which the store keeps the owner of a session."""
    return f"{session_id}.owner"


@frozen
class Owner:
    """
    The owner of a session.

    :ivar fingerprint: the :func:`fingerprint` of the credential's password.
    """

    credential_id: str
    fingerprint: str
    channel_id: str

    def body(self) -> bytes:
        """Return the owner as JSON for the store."""
        shown = {"credential": self.credential_id, "fingerprint": self.fingerprint}
        return json.dumps({"channel_id": self.channel_id, **shown}).encode()

    def may_read(self, find: Callable[[str], Credential | None]) -> bool:
        """
        Return true if the credential still exists with its password, and may read the channel.

        :param find: looks up a credential of the store by its id.
        """
        credential = find(self.credential_id)
        return (
            credential is not None
            and fingerprint(credential) == self.fingerprint
            and may_read(credential, self.channel_id)
        )


def fingerprint(credential: Credential) -> str:
    """Return a digest that changes with the password, and does not reveal it."""
    return hashlib.sha256(f"session:{credential.id}:{credential.secret}".encode()).hexdigest()[:32]


def owner_of(credential: Credential, channel_id: str) -> Owner:
    """Return the owner of a session that this credential opens."""
    return Owner(credential.id, fingerprint(credential), channel_id)


def parse_owner(body: bytes | None) -> Owner | None:
    """Return the owner that :meth:`Owner.body` wrote; ``None`` if there is none."""
    try:
        kept = json.loads(body or b"")
        return Owner(kept["credential"], kept["fingerprint"], kept["channel_id"])
    except (ValueError, TypeError, KeyError):
        return None
