# SPDX-License-Identifier: Apache-2.0

"""
The addresses of the node's own services: its listeners, and the Redis servers that it uses.

No drain may connect to these addresses. A drain that wrote to the node's Redis could send commands
to it. A drain that wrote to a listener of the node would send messages in a circle.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IListeningPort,
    IResolutionReceiver,
)
from twisted.python.components import proxyForInterface
from zope.interface import implementer

from logplex.interfaces import IReactor

#: The newest addresses that are remembered. A cluster has some dozens.
_MAX_ADDRESSES = 1_000

_ReactorProxy: Any = proxyForInterface(IReactor, "_reactor")
_ReceiverProxy: Any = proxyForInterface(IResolutionReceiver, "_receiver")


def listening(ports: Iterable[IListeningPort]) -> Iterator[tuple[str, int]]:
    """
    Yield the address and the port number of each open port that can be reached over a network.
    """
    for port in ports:
        address = port.getHost()
        if isinstance(address, IPv4Address | IPv6Address):
            yield address.host, address.port


class WatchedReactor(_ReactorProxy):  # type: ignore[misc]
    """
    A reactor that remembers every address that is looked up through it for a connection.

    :ivar addresses: the numeric addresses, each with its port, the newest last.
    """

    def __init__(self, reactor: IReactor) -> None:
        super().__init__(reactor)
        self.addresses: dict[tuple[str, int], None] = {}

    @property
    def nameResolver(self) -> IHostnameResolver:
        """
        The resolver that looks up addresses and remembers them; see
        :class:`IReactorPluggableNameResolver`.
        """
        return _WatchedResolver(self._reactor.nameResolver, self._found)

    def _found(self, address: IAddress) -> None:
        if isinstance(address, IPv4Address | IPv6Address):
            key = address.host, address.port
            self.addresses.pop(key, None)
            self.addresses[key] = None
            if len(self.addresses) > _MAX_ADDRESSES:
                del self.addresses[next(iter(self.addresses))]


@implementer(IHostnameResolver)
class _WatchedResolver:
    def __init__(self, resolver: IHostnameResolver, found: Any) -> None:
        self._resolver = resolver
        self._found = found

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """See :class:`IHostnameResolver`."""
        receiver: Any = _WatchedReceiver(resolutionReceiver)
        receiver.found = self._found
        return self._resolver.resolveHostName(
            receiver, hostName, portNumber, addressTypes, transportSemantics
        )


class _WatchedReceiver(_ReceiverProxy):  # type: ignore[misc]
    def addressResolved(self, address: IAddress) -> None:
        """See :class:`IResolutionReceiver`."""
        self.found(address)
        self._receiver.addressResolved(address)
