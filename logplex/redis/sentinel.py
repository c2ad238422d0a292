# SPDX-License-Identifier: Apache-2.0

"""The address of a Redis whose present primary is known by Sentinels."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory
from zope.interface import implementer

from logplex.hosts import host_and_port, split_hosts
from logplex.interfaces import IReactor, StoreAway
from logplex.redis.address import read_trust, tcp_endpoint
from logplex.redis.connection import Commands, Refused
from logplex.waiting import within

DEFAULT_PORT = 26379
#: A Sentinel must take a connection within this time, and then answer within it.
TIMEOUT_S = 1.0


@frozen
class SentinelAddress:
    """
    The addresses of the Sentinels that know the primary of a Redis, and the login for it (PROTOCOL
    §10).

    :ivar service: the name by which the Sentinels know the Redis.
    :ivar user: the user name for Redis and for the Sentinels; empty for the default user.
    :ivar tls: true if the Redis and the Sentinels speak TLS.
    """

    sentinels: tuple[tuple[str, int], ...]
    service: str
    db: int = 0
    user: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False

    @classmethod
    def parse(cls, url: str) -> SentinelAddress:
        """
        Return the address in a URL, which the settings have already checked.

        :param url: ``redis[s]+sentinel://[[user]:password@]host[:port],…/service[/db][#sortkey]``;
            the user, the password and the service may be percent-encoded.
        """
        parts = urlsplit(url)
        login, _, hosts = parts.netloc.rpartition("@")
        user, _, password = login.partition(":")
        service, _, db = parts.path.strip("/").partition("/")
        return cls(
            sentinels=tuple(split_hosts(hosts, DEFAULT_PORT)),
            service=unquote(service),
            db=int(db or 0),
            user=unquote(user),
            password=unquote(password),
            tls=parts.scheme == "rediss+sentinel",
        )

    def __str__(self) -> str:
        """Return the URL of the Sentinels without user and password."""
        scheme = "rediss+sentinel" if self.tls else "redis+sentinel"
        hosts = ",".join(host_and_port(*each) for each in self.sentinels)
        return f"{scheme}://{hosts}/{self.service}/{self.db}"

    def endpoint(
        self, reactor: IReactor, connect_timeout_s: float, ca_file: str = ""
    ) -> IStreamClientEndpoint:
        """
        Return the endpoint that asks the Sentinels for the primary, and connects to the primary.

        :param ca_file: a file of PEM certificates that verify servers; if empty, the authorities of
            the system verify them.
        :raise StoreUnusable: the file ``ca_file`` cannot be read.
        """
        trust = read_trust(ca_file) if self.tls else None
        endpoint_to = partial(tcp_endpoint, reactor, trust=trust)
        return SentinelEndpoint(self, endpoint_to, reactor, connect_timeout_s)


class _OneConnection(Factory):
    noisy = False
    protocol = Commands


@implementer(IStreamClientEndpoint)
class SentinelEndpoint:
    """
    An endpoint that connects to the primary which the first answering Sentinel names.

    A Sentinel may not know yet that the primary has changed. So every attempt begins with another
    Sentinel, and the caller must check the role of the connected Redis.

    :param endpoint_to: returns the endpoint for a host, a port and a timeout in seconds.
    """

    def __init__(
        self,
        address: SentinelAddress,
        endpoint_to: Callable[[str, int, float], IStreamClientEndpoint],
        clock: IReactorTime,
        connect_timeout_s: float,
    ) -> None:
        self._address = address
        self._endpoint_to = endpoint_to
        self._clock = clock
        self._connect_timeout_s = connect_timeout_s
        self._sentinels = list(address.sentinels)

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Ask the Sentinels for the present primary, and connect to it."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        host, port = await self._find()
        return await self._endpoint_to(host, port, self._connect_timeout_s).connect(factory)

    async def _find(self) -> tuple[str, int]:
        """
        Return the address of the present primary.

        :raise StoreAway: no Sentinel names a primary. The text has a reason for each Sentinel.
        """
        failures = []
        for sentinel in list(self._sentinels):
            self._sentinels.append(self._sentinels.pop(0))
            try:
                return await self._ask(*sentinel)
            except Exception as error:
                because = str(error) or type(error).__name__
                failures.append(f"Sentinel {host_and_port(*sentinel)}: {because}")
        raise StoreAway("; ".join(failures))

    async def _ask(self, host: str, port: int) -> tuple[str, int]:
        endpoint = self._endpoint_to(host, port, TIMEOUT_S)
        connection: Any = await endpoint.connect(_OneConnection())
        try:
            late = StoreAway("it does not answer")
            asked = Deferred.fromCoroutine(self._conversation(connection))
            return await within(asked, TIMEOUT_S, self._clock, late)
        finally:
            await connection.end()

    async def _conversation(self, connection: Commands) -> tuple[str, int]:
        address = self._address
        if address.password:
            login = [address.user] if address.user else []
            # A Sentinel without password refuses one, and answers the question.
            with suppress(Refused):
                await connection.give(["AUTH", *login, address.password])
        question = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", address.service]
        answer = await connection.give(question)
        if not answer:
            raise StoreAway(f"it knows no {address.service!r}")
        return answer[0].decode(), int(answer[1])
