# SPDX-License-Identifier: Apache-2.0

"""All links of this node to one Redis, which find the present primary of this Redis together."""

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
    All links to one Redis. When one link finds that it is connected to a replica, all links connect
    again.

    Only some connections can notice a replica, because Redis does not tell its role to a connection
    with subscriptions, and a replica permits reading.

    :ivar endpoint: connects to the present primary, if the address leads to it.
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
        """Make a link to the present primary; see :class:`logplex.redis.link.Connect`."""
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
    Return the links to the Redis at a URL, which the settings have already checked.

    :param ca_file: a file of PEM certificates that verify the server; if empty, the authorities of
        the system verify it.
    :raise StoreUnusable: the file ``ca_file`` cannot be read.
    """
    has_sentinels = "+sentinel:" in url
    address = SentinelAddress.parse(url) if has_sentinels else RedisAddress.parse(url)
    endpoint = address.endpoint(reactor, CONNECT_TIMEOUT_S, ca_file)
    return Primary(address, endpoint, reactor, jitter)
