# SPDX-License-Identifier: Apache-2.0

"""
Make credentials: secrets, their hashes, and the first credential of a new node.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from attrs import evolve, field, frozen
from twisted.internet.defer import Deferred

from logplex.model.values import (
    ANY_CHANNEL_PERMISSION,
    FULL_API,
    Change,
    Credential,
    Put,
    parse_permissions,
)
from logplex.settings import FileCredential

FILE_NAME = "first-credential"
CREDENTIAL_ID = "admin"

_HASHED = re.compile(r"sha256\$([0-9a-f]{32})\$([0-9a-f]{64})")

#: Makes changes durable in a store.
Commit = Callable[[Sequence[Change]], Deferred[None]]


def make_secret() -> str:
    """Return a new password: 256 random bits, in letters, digits, ``-`` and ``_``."""
    return secrets.token_urlsafe(32)


def hash_secret(password: str, salt: bytes | None = None) -> str:
    """
    Return the form in which a password is kept: ``sha256$<salt>$<digest>``, both in hex.

    One round of SHA-256 is enough for secrets of :func:`make_secret`: guessing one of 2**256 is
    hopeless. A slow hash would make every request slow.

    :param salt: 16 bytes; ``None``: new random ones.
    """
    salt = secrets.token_bytes(16) if salt is None else salt
    return f"sha256${salt.hex()}${hashlib.sha256(salt + password.encode()).hexdigest()}"


def secret_matches(kept: str, password: str) -> bool:
    """Compare a password with the kept one, plain or hashed, in constant time."""
    hashed = _HASHED.fullmatch(kept)
    if hashed:
        password = hash_secret(password, bytes.fromhex(hashed[1]))
    return hmac.compare_digest(kept.encode(), password.encode())


@frozen
class Made:
    """A credential with its new password, which cannot be found out later."""

    credential: Credential
    password: str = field(repr=False)


def make_credential(
    id: str, name: str, permissions: Iterable[str], keep_plain: bool = False
) -> Made:
    """
    Make a credential with a password of :func:`make_secret`.

    :param permissions: see :func:`parse_permissions`.
    :param keep_plain: store the password itself, for Erlang nodes that cannot read hashes.
    :raise ValueError: the permissions are wrong.
    """
    full_api, channel = parse_permissions(permissions)
    return with_new_password(Credential(id, "", name, full_api, channel), keep_plain)


def with_new_password(credential: Credential, keep_plain: bool = False) -> Made:
    """Give the credential another password; see :func:`make_credential`."""
    password = make_secret()
    kept = password if keep_plain else hash_secret(password)
    return Made(evolve(credential, secret=kept), password)


def credential_from_file(kept: FileCredential) -> Credential:
    """
    Turn a credential of the settings file into a value of the model.

    :raise ValueError: the permissions are wrong, basic auth cannot carry the id, or
        there is no password.
    """
    full_api, channel = parse_permissions(kept.permissions)
    if not kept.id or ":" in kept.id or not kept.password:
        raise ValueError("a credential needs a password and an id without colon")
    return Credential(kept.id, kept.password, kept.id, full_api, channel)


@frozen
class FirstCredential:
    """The path of the file with the secret, and the secret itself, to be shown on a terminal."""

    path: Path
    id: str
    password: str


def make_first_credential(commit: Commit, directory: Path) -> Deferred[FirstCredential]:
    """
    Make a credential with every permission, and write ``id:password`` into a file that only its
    owner can read.

    The file is written first. If the node dies between the two steps, it makes a new credential at
    its next start; a stored credential without a file could never be used.

    :param commit: see :meth:`logplex.interfaces.IConfigStore.commit`.
    :raise OSError: the file cannot be written.
    """
    made = make_credential(
        CREDENTIAL_ID, "made at the first start", (FULL_API, ANY_CHANNEL_PERMISSION)
    )
    path = directory / FILE_NAME
    write_private(path, f"{CREDENTIAL_ID}:{made.password}\n")
    first = FirstCredential(path.absolute(), CREDENTIAL_ID, made.password)
    return commit([Put(made.credential)]).addCallback(lambda _: first)


def write_private(path: Path, text: str) -> None:
    """Replace the file in one step: it is never readable by others, and never half written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
