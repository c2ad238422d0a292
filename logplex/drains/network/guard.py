# SPDX-License-Identifier: Apache-2.0

"""
The addresses that drains may not connect to.

Any user can choose the URL of a drain, so the URL may lead into the operator's own network, or to
the node itself. The guard checks the numeric address just before each connection. So the guard does
not depend on earlier lookups of a name, or on the notation of an address.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Any

from attrs import define, field
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import (
    IConnector,
    IDelayedCall,
    IHostnameResolver,
    IReactorPluggableNameResolver,
    IReactorTime,
    IStreamClientEndpoint,
)
from zope.interface import implementer

from logplex.drains.network.errors import DestinationDenied
from logplex.drains.network.resolver import ChannelResolver
from logplex.interfaces import IReactor

#: Translated by NAT64 into the IPv4 address of their last 32 bits (RFC 6052 §2.1, RFC 8215).
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
_NAT64 = (IPv6Network("64:ff9b::/96"), _LOCAL_NAT64)
#: Local prefixes may be shorter, too: the IPv4 address then begins at one of these bytes, and
#: leaves out the one that is always zero (RFC 6052 §2.2).
_LOCAL_NAT64_PLACES = (6, 7, 8)
_ZERO_BYTE = 8
#: No address is translated into it.
_THIS_NETWORK = IPv4Network("0.0.0.0/8")
#: IPv4-compatible addresses, which are deprecated (RFC 4291 §2.5.5.1).
_COMPATIBLE = IPv6Network("::/96")
_LOW_32_BITS = 0xFFFF_FFFF


class Guard:
    """
    The check of the addresses to which drains want to connect.

    :param networks: the denied networks, such as ``10.0.0.0/8``. An IPv4 network includes every
        IPv6 address that leads into it.
    :param own_services: returns the addresses and ports of the node's own services, to which drains
        may never connect. An empty or unspecified address stands for all addresses of this machine.
    """

    def __init__(
        self,
        networks: Iterable[str],
        own_services: Callable[[], Iterable[tuple[str, int]]] = tuple,
    ) -> None:
        self._networks: list[IPv4Network | IPv6Network] = [ip_network(each) for each in networks]
        self._own_services = own_services

    def check(self, address: str, port: int = 0) -> None:
        """
        Raise an error if drains may not connect to an address.

        :param address: a numeric address; an IPv6 address may have a zone.
        :param port: a TCP port; 0 for UDP, since the node has no service over UDP.
        :raise DestinationDenied: drains may not connect to the address.
        """
        meanings = list(_meanings(_parsed(address)))
        for meant in meanings:
            if any(meant in network for network in self._networks):
                raise DestinationDenied
        own = [_parsed(host or "::") for host, own_port in self._own_services() if own_port == port]
        if own and any(each in meanings for each in own):
            raise DestinationDenied
        if any(map(_is_this_machine, own)) and any(map(_is_this_machine, meanings)):
            raise DestinationDenied


def _parsed(address: str) -> IPv4Address | IPv6Address:
    return ip_address(address.partition("%")[0])


def _is_this_machine(address: IPv4Address | IPv6Address) -> bool:
    """Return true if an address belongs to this machine. The test binds a socket to the address."""
    if address.is_loopback or address.is_unspecified:
        return True
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
        return True


def _meanings(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address | IPv6Address]:
    """Yield every address to which a connection to the given address could lead."""
    yield address
    if address.is_unspecified:
        # The kernel takes it for this machine.
        yield IPv4Address("127.0.0.1")
        yield IPv6Address("::1")
    elif isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            yield from _meanings(address.ipv4_mapped)
        if address.sixtofour:
            yield address.sixtofour
        if address.teredo:
            yield from address.teredo
        if address in _COMPATIBLE or any(address in network for network in _NAT64):
            yield from _meanings(IPv4Address(int(address) & _LOW_32_BITS))
        if address in _LOCAL_NAT64:
            yield from _translated_locally(address)


def _translated_locally(address: IPv6Address) -> Iterator[IPv4Address]:
    octets = address.packed[:_ZERO_BYTE] + address.packed[_ZERO_BYTE + 1 :]
    for place in _LOCAL_NAT64_PLACES:
        meant = IPv4Address(octets[place : place + 4])
        if meant not in _THIS_NETWORK:
            yield meant


class _HostnameEndpoint(HostnameEndpoint):
    """An endpoint that accepts host names that IDNA does not allow, such as ``my_app``."""

    @staticmethod
    def _hostAsBytesAndText(host: bytes | str) -> tuple[bool, bytes, str]:
        # The host was checked and encoded when the URL was read.
        text = host if isinstance(host, str) else host.decode("ascii")
        return False, text.encode("ascii"), text


@implementer(IReactorTime, IReactorPluggableNameResolver)
@define(eq=False, repr=False)
class GuardedReactor:
    """
    The part of a reactor that endpoints need to connect. It checks every address before a
    connection.

    :ivar reactor: makes the connections.
    :ivar nameResolver: looks up the addresses of hosts for endpoints.
    """

    reactor: IReactor
    guard: Guard
    nameResolver: ChannelResolver = field(alias="resolver")

    def endpoint(self, host: str, port: int, timeout_s: float) -> IStreamClientEndpoint:
        """
        Return an endpoint that connects to the fastest permitted address of the host (RFC 8305).
        """
        endpoint: IStreamClientEndpoint = _HostnameEndpoint(self, host, port, timeout_s)
        return endpoint

    def connectTCP(self, host: str, port: int, *args: Any, **kwargs: Any) -> IConnector:
        """
        See :class:`IReactorTCP`. Endpoints call this method with an address that was looked up.

        :raise DestinationDenied: the address is denied.
        """
        self.guard.check(host, port)
        connector: IConnector = self.reactor.connectTCP(host, port, *args, **kwargs)
        return connector

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        """
        See :class:`IReactorPluggableNameResolver`. Raise an error, because the resolver cannot be
        replaced.
        """
        raise NotImplementedError

    def seconds(self) -> float:
        return float(self.reactor.seconds())

    def callLater(
        self, delay: float, callable: Callable[..., Any], *args: object, **kwargs: object
    ) -> IDelayedCall:
        delayed: IDelayedCall = self.reactor.callLater(delay, callable, *args, **kwargs)
        return delayed

    def getDelayedCalls(self) -> Any:
        return self.reactor.getDelayedCalls()
