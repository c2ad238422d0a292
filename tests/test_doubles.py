# SPDX-License-Identifier: Apache-2.0

"""The stand-ins keep the contracts of what they stand for."""

from __future__ import annotations

from twisted.internet.task import Clock

from logplex.interfaces import IConfigStore
from tests.contracts import AtOnce
from tests.contracts.configuration import ConfigStoreContract
from tests.doubles.interfaces import DictConfigStore


class DictConfigStoreTests(ConfigStoreContract, AtOnce):
    """:class:`DictConfigStore`"""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)

    async def empty_store(self) -> IConfigStore:
        return DictConfigStore(self.clock)

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
