"""
The first credential of a node that has none: how its owner gets in.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import frozen
from twisted.internet.defer import Deferred

from logplex.access.authenticator import ANY_CHANNEL_PERMISSION, FULL_API, make_credential
from logplex.model.values import Change, Put

FILE_NAME = "first-credential"
CREDENTIAL_ID = "admin"

#: A store's way to make changes durable.
Commit = Callable[[Sequence[Change]], Deferred[None]]


@frozen
class FirstCredential:
    """Where the secret was written, and the secret for who sits at a terminal."""

    path: Path
    id: str
    password: str


def make_first_credential(commit: Commit, directory: Path) -> Deferred[FirstCredential]:
    """
    Make a credential with every permission, and write ``id:password`` into a file that only its
    owner can read.

    The file is written first: should the node die between the two steps, it makes a new one at
    its next start, while a credential without file could never be used.

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
    """Replace the file in one step, so that it never is readable by others or half written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
