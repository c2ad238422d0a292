# SPDX-License-Identifier: Apache-2.0

"""
All links to one Redis. They find its present primary together.
"""

from __future__ import annotations

from collections.abc import Callable
from random import random

from attrs import define, field
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint

from logplex.interfaces import IReactor
from logplex.redis.address import CONNECT_TIMEOUT_S, RedisAddress
from logplex.redis.link import Address, RedisLink, nothing
from logplex.redis.sentinel import SentinelAddress


@define(eq=False, repr=False)
class Primary:
    """
    Make the links to one Redis, and end all their connections when one of them finds a replica.

    Only some connections can notice a replica: Redis does not tell its role to a connection with
    subscriptions, and a replica permits reading.

    :ivar endpoint: connects to the present primary, if the address says where it is.
    """

    address: Address
    endpoint: IStreamClientEndpoint
    clock: IReactorTime
    jitter: Callable[[], float]
    _links: list[RedisLink] = field(factory=list, init=False)

    def connect(
        self,
        *,
        name: str,
        up: Callable[[], None] = nothing,
        down: Callable[[], None] = nothing,
        received: Callable[[bytes, bytes], None] | None = None,
    ) -> RedisLink:
        """See :class:`logplex.redis.link.Connect`."""
        link = RedisLink(
            self.address,
            self.endpoint,
            self.clock,
            self.jitter,
            name=name,
            up=up,
            down=down,
            received=received,
            demoted=self._renew,
        )
        self._links.append(link)
        return link

    def _renew(self) -> None:
        for link in self._links:
            link.renew()


def primary_at(
    url: str, reactor: IReactor, ca_file: str = "", jitter: Callable[[], float] = random
) -> Primary:
    """
    Return the primary at a URL that the settings have checked.

    :param ca_file: PEM certificates to verify a server with; empty for the system's roots.
    :raise StoreUnusable: the file cannot be read.
    """
    has_sentinels = "+sentinel:" in url
    address = SentinelAddress.parse(url) if has_sentinels else RedisAddress.parse(url)
    endpoint = address.endpoint(reactor, CONNECT_TIMEOUT_S, ca_file)
    return Primary(address, endpoint, reactor, jitter)
