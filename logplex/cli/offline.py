# SPDX-License-Identifier: Apache-2.0

"""
Read and change a configuration store without a running node.
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

#: The longest time to read the whole store.
OPEN_TIMEOUT_S = 20.0
#: The longest time for one change.
COMMIT_TIMEOUT_S = 30.0

_SCHEMES = ("sqlite:", "redis:", "rediss:", "redis+sentinel:", "rediss+sentinel:")
#: URLs of other schemes: not names of files, and error messages must not show their passwords.
_OTHER_URL = re.compile(r"(?i:memory:|[a-z][a-z0-9+.-]+://.*)")


@frozen
class OpenStore:
    """
    A configuration store, opened without a node, whose whole content has been read.

    :ivar registry: the content of the store.
    """

    _store: IConfigStore
    _reactor: IReactor
    registry: Registry

    async def put(self, values: list[Value]) -> None:
        """
        Write values to the store: either all values or none.

        :raise Unreachable: the store did not answer. It is unknown if the values were written.
        """
        commit = self._store.commit([Put(value) for value in values])
        await _answered(commit, COMMIT_TIMEOUT_S, self._reactor)


@asynccontextmanager
async def opened(
    location: str, reactor: IReactor, must_exist: bool = False
) -> AsyncIterator[OpenStore]:
    """
    Open a configuration store, and close the store at the end of the ``async with`` block.

    :param location: the path of an SQLite file, or a URL as in ``[store] url``.
    :param must_exist: true to refuse a missing file; false to create it.
    :raise BadSettings: the location is not the URL of a store.
    :raise NotFound: the file does not exist, and ``must_exist`` is true.
    :raise Rejected: a running node uses the file, or the file is not a store.
    :raise Unreachable: the store does not answer.
    """
    is_url = location.startswith(_SCHEMES)
    if not is_url and _OTHER_URL.fullmatch(location):
        raise BadSettings('the store must be a file, "sqlite:FILE" or "redis://HOST"')
    url = location if is_url else f"sqlite:{location}"
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
    """
    Wait for an answer of the store.

    :raise Unreachable: the store cannot be reached, or does not answer in time.
    """
    late = Unreachable(f"the store does not answer within {timeout_s:.0f} s")
    try:
        await within(asked, timeout_s, reactor, late)
    except StoreAway as error:
        raise Unreachable(f"the store is away: {error}") from None
