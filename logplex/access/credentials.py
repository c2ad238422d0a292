# SPDX-License-Identifier: Apache-2.0

"""
Make credentials: generate secrets, hash secrets, and make the first credential of a new node.
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
    """Return a new random password of 256 bits, in letters, digits, ``-`` and ``_``."""
    return secrets.token_urlsafe(32)


def hash_secret(password: str, salt: bytes | None = None) -> str:
    """
    Return the hash of a password as ``sha256$<salt>$<digest>``. Salt and digest are in hexadecimal
    digits.

    One round of SHA-256 is enough, because :func:`make_secret` makes random secrets that cannot be
    guessed. A slow hash would make every request slow.

    :param salt: 16 bytes; ``None`` to use a new random salt.
    """
    salt = secrets.token_bytes(16) if salt is None else salt
    return f"sha256${salt.hex()}${hashlib.sha256(salt + password.encode()).hexdigest()}"


def secret_matches(kept: str, password: str) -> bool:
    """
    Compare a password with a stored secret in constant time. The stored secret is plain or hashed.
    """
    hashed = _HASHED.fullmatch(kept)
    if hashed:
        password = hash_secret(password, bytes.fromhex(hashed[1]))
    return hmac.compare_digest(kept.encode(), password.encode())


@frozen
class Made:
    """A new credential and its password. Later, only the hash of the password is known."""

    credential: Credential
    password: str = field(repr=False)


def make_credential(
    id: str, name: str, permissions: Iterable[str], keep_plain: bool = False
) -> Made:
    """
    Make a credential with a new random password.

    :param permissions: texts as :func:`parse_permissions` expects them.
    :param keep_plain: true to store the password itself, for Erlang nodes, which cannot read
        hashes.
    :raise ValueError: a permission does not exist, or permissions exclude each other.
    """
    full_api, channel = parse_permissions(permissions)
    return with_new_password(Credential(id, "", name, full_api, channel), keep_plain)


def with_new_password(credential: Credential, keep_plain: bool = False) -> Made:
    """
    Return the credential with a new random password.

    :param keep_plain: true to store the password itself, for Erlang nodes, which cannot read
        hashes.
    """
    password = make_secret()
    kept = password if keep_plain else hash_secret(password)
    return Made(evolve(credential, secret=kept), password)


def credential_from_file(kept: FileCredential) -> Credential:
    """
    Convert a credential of the settings file to a :class:`~logplex.model.Credential`.

    :raise ValueError: the permissions are wrong, HTTP basic authentication cannot transport the id,
        or the password is missing.
    """
    full_api, channel = parse_permissions(kept.permissions)
    if not kept.id or ":" in kept.id or not kept.password:
        raise ValueError("a credential needs a password and an id without colon")
    return Credential(kept.id, kept.password, kept.id, full_api, channel)


@frozen
class FirstCredential:
    """
    The secret of a node's first credential, and the path of the file that contains the secret. The
    secret is shown on a terminal.
    """

    path: Path
    id: str
    password: str


def make_first_credential(commit: Commit, directory: Path) -> Deferred[FirstCredential]:
    """
    Make a credential with all permissions, and write ``id:password`` into a file that only the
    file's owner can read.

    The file is written before the credential is stored. If the node dies between the two steps, the
    next start makes another credential.

    :param commit: writes the credential to the store; see
        :meth:`logplex.interfaces.IConfigStore.commit`.
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
    """Write a file that only its owner can read. Replace an old file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
