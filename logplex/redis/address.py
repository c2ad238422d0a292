# SPDX-License-Identifier: Apache-2.0

"""The address of a Redis server, and the endpoint that connects to the server."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

from attrs import field, frozen
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import optionsForClientTLS, platformTrust

from logplex.certificates import BadPem, read_authorities
from logplex.hosts import host_and_port
from logplex.interfaces import IReactor, StoreUnusable

DEFAULT_PORT = 6379
#: A Redis must take a connection within this time.
CONNECT_TIMEOUT_S = 3.0


@frozen
class RedisAddress:
    """
    The address of a Redis server: the parts of its URL (PROTOCOL §10).

    :ivar user: the name of the user; empty for the default user.
    :ivar password: the password of the user; empty if Redis does not need a password.
    """

    host: str
    port: int = DEFAULT_PORT
    db: int = 0
    user: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False

    @classmethod
    def parse(cls, url: str) -> RedisAddress:
        """
        Return the address in a URL, which the settings have already checked.

        :param url: ``redis[s]://[[user]:password@]host[:port][/db][#sortkey]``; the user and the
            password may be percent-encoded. The sort key is not part of the address.
        """
        parts = urlsplit(url)
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        return cls(
            host=parts.hostname or "",
            port=parts.port or DEFAULT_PORT,
            db=int(parts.path.strip("/") or 0),
            user=user,
            password=password,
            tls=parts.scheme == "rediss",
        )

    def __str__(self) -> str:
        """Return the URL of the Redis server without user and password."""
        scheme = "rediss" if self.tls else "redis"
        return f"{scheme}://{host_and_port(self.host, self.port)}/{self.db}"

    def endpoint(
        self, reactor: IReactor, connect_timeout_s: float, ca_file: str = ""
    ) -> IStreamClientEndpoint:
        """
        Return the endpoint that connects to this Redis server.

        :param ca_file: a file of PEM certificates that verify a ``rediss`` server; if empty, the
            authorities of the system verify it.
        :raise StoreUnusable: the file ``ca_file`` cannot be read.
        """
        trust = read_trust(ca_file) if self.tls else None
        return tcp_endpoint(reactor, self.host, self.port, connect_timeout_s, trust=trust)


def tcp_endpoint(
    reactor: IReactor, host: str, port: int, connect_timeout_s: float, *, trust: Any
) -> IStreamClientEndpoint:
    """
    Return the endpoint that connects to a host and port over TCP, with TLS if ``trust`` is given.

    :param trust: the authorities that verify the server's certificate; ``None`` without TLS.
    """
    plain = HostnameEndpoint(reactor, host, port, timeout=connect_timeout_s)
    if trust is None:
        return plain
    wrapped: IStreamClientEndpoint = wrapClientTLS(
        optionsForClientTLS(host, trustRoot=trust), plain
    )
    return wrapped


def read_trust(ca_file: str) -> Any:
    """
    Return the certificate authorities in a file; if no file is given, those of the system.

    :raise StoreUnusable: the file cannot be read.
    """
    try:
        return read_authorities("[store] ca_file", ca_file) if ca_file else platformTrust()
    except BadPem as error:
        raise StoreUnusable(str(error)) from None
