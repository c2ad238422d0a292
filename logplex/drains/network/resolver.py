# SPDX-License-Identifier: Apache-2.0

"""
The addresses of drains' hosts.

The owner of a name can make its lookup slow. So drains have threads of their own for lookups, and
the node does not wait for these threads when it ends. Drains that look up the same name share one
lookup.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from threading import Thread
from typing import Any

from attrs import frozen
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IResolutionReceiver,
)
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from logplex.interfaces import IReactor

Address = IPv4Address | IPv6Address

#: The most lookups at a time. Most of them only wait: a name that hangs does so for half a minute.
MAX_LOOKUPS = 128


class DaemonThreadPool(ThreadPool):
    """Threads that do not delay the end of the process."""

    @staticmethod
    def threadFactory(*args: Any, **kwargs: Any) -> Thread:  # type: ignore[override]
        return Thread(*args, daemon=True, **kwargs)


@implementer(IHostnameResolver)
class Resolver:
    """
    Looks up the addresses of hosts.

    :param reactor: runs the callbacks of the threads.
    :param getaddrinfo: the function of the system, or of a test.
    """

    def __init__(
        self,
        reactor: IReactor,
        getaddrinfo: Callable[..., Sequence[Any]] = socket.getaddrinfo,
        pool: ThreadPool | None = None,
    ) -> None:
        self._reactor = reactor
        self._getaddrinfo = getaddrinfo
        self._pool = pool or DaemonThreadPool(0, MAX_LOOKUPS, "drains' names")
        self._waiting: dict[tuple[str, int], list[Deferred[list[Address]]]] = {}

    def lookup(self, host: str, port: int) -> Deferred[list[Address]]:
        """
        Return the host's addresses, the best first; fails with :class:`OSError` if there are none.

        :param host: a name, or an address.
        """
        literal = _literal(host, port)
        if literal is not None:
            return succeed([literal])
        result: Deferred[list[Address]] = Deferred()
        waiting = self._waiting.setdefault((host, port), [])
        waiting.append(result)
        if len(waiting) == 1:
            self._look_up(host, port).addBoth(self._found, host, port)
        return result

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """See :class:`IHostnameResolver`. A name whose lookup fails has no addresses."""
        resolution = _Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)

        def found(addresses: list[Address]) -> None:
            for address in addresses:
                resolutionReceiver.addressResolved(address)

        self.lookup(hostName, portNumber).addCallbacks(found, lambda _: None).addBoth(
            lambda _: resolutionReceiver.resolutionComplete()
        )
        return resolution

    def _look_up(self, host: str, port: int) -> Deferred[Sequence[Any]]:
        if not self._pool.started:
            self._pool.start()
        return deferToThreadPool(
            self._reactor,
            self._pool,
            self._getaddrinfo,
            host,
            port,
            0,
            socket.SOCK_STREAM,
        )

    def _found(self, result: Sequence[Any] | Failure, host: str, port: int) -> None:
        for waiting in self._waiting.pop((host, port)):
            if isinstance(result, Failure):
                waiting.errback(result)
            else:
                waiting.callback([_address(family, each) for family, *_, each in result])


def _literal(host: str, port: int) -> Address | None:
    """Return the host if it is an address, which needs no lookup; else ``None``."""
    if isIPAddress(host):
        return IPv4Address("TCP", host, port)
    if isIPv6Address(host):
        return IPv6Address("TCP", host, port)
    return None


def _address(family: int, sockaddr: Sequence[Any]) -> Address:
    if family == socket.AF_INET6:
        return IPv6Address("TCP", *sockaddr)
    return IPv4Address("TCP", *sockaddr)


@implementer(IHostResolution)
@frozen
class _Resolution:
    name: str

    def cancel(self) -> None:
        """See :class:`IHostResolution`. A thread cannot be stopped; its result is not used."""
