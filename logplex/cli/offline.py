"""
A store without a node: opened, asked or changed, and closed.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from attrs import frozen
from twisted.internet.defer import Deferred

from logplex.cli.failures import BadSettings, NotFound, Rejected, Unreachable
from logplex.configuration import make_config_store
from logplex.interfaces import IConfigStore, IReactor, StoreAway, StoreUnusable
from logplex.model.values import Put, Value
from logplex.routing.registry import Registry
from logplex.settings import Store
from logplex.waiting import within

#: A store may take so long to be read.
OPEN_TIMEOUT_S = 20.0
#: And so long for each change.
COMMIT_TIMEOUT_S = 30.0

_SCHEMES = ("sqlite:", "redis:", "rediss:")
#: No file is meant by what looks so, and its name might be a password.
_OTHER_URL = re.compile(r"(?i:memory:|[a-z][a-z0-9+.-]+://.*)")


@frozen
class OpenStore:
    """
    A store that has been read.

    :ivar registry: everything that it holds.
    """

    _store: IConfigStore
    _reactor: IReactor
    registry: Registry

    async def put(self, values: list[Value]) -> None:
        """
        Keep these: all, or none.

        :raise Unreachable: perhaps they are kept, perhaps not.
        """
        commit = self._store.commit([Put(value) for value in values])
        await _answered(commit, COMMIT_TIMEOUT_S, self._reactor)


@asynccontextmanager
async def opened(
    place: str, reactor: IReactor, must_exist: bool = False
) -> AsyncIterator[OpenStore]:
    """
    Open a store, and close it at the end.

    :param place: a file of SQLite, or the URL of a store as ``[store] url`` has it.
    :param must_exist: a file that is missing is not made.
    :raise BadSettings: that is no store's URL.
    :raise Rejected: the store cannot be used: a running node holds the file, or it is no store.
    :raise Unreachable: it does not answer.
    """
    is_url = place.startswith(_SCHEMES)
    if not is_url and _OTHER_URL.fullmatch(place):
        raise BadSettings('the store must be a file, "sqlite:FILE" or "redis://HOST"')
    url = place if is_url else f"sqlite:{place}"
    if must_exist and url.startswith("sqlite:") and not Path(url.partition(":")[2]).exists():
        raise NotFound("there is no such file")
    try:
        store = make_config_store(Store(url=url), reactor)
    except ValueError as error:
        raise BadSettings(f"the store {error}") from None
    except StoreUnusable as error:
        raise Rejected(str(error)) from None
    registry = Registry()
    try:
        await _answered(store.open(registry), OPEN_TIMEOUT_S, reactor)
        yield OpenStore(store, reactor, registry)
    except StoreUnusable as error:
        raise Rejected(str(error)) from None
    finally:
        await store.close()


async def _answered(asked: Deferred[None], timeout_s: float, reactor: IReactor) -> None:
    late = Unreachable(f"the store does not answer within {timeout_s:.0f} s")
    try:
        await within(asked, timeout_s, reactor, late)
    except StoreAway as error:
        raise Unreachable(f"the store is away: {error}") from None
