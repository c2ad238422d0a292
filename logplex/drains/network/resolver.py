# SPDX-License-Identifier: Apache-2.0

"""
The lookup of the addresses of drains' hosts.

The owner of a name can make the lookup of the name slow. So drains have threads of their own for
lookups, and the node does not wait for these threads when it ends. Drains that look up the same
name share one lookup.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Sequence
from threading import Thread
from typing import Any, TypeVar

from attrs import define, field, frozen
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

T = TypeVar("T")

#: The most lookups at a time. Most of them only wait: a name that hangs does so for half a minute.
MAX_LOOKUPS = 256
#: Names whose last lookup took longer than this have threads of their own, and no more than these.
SLOW_S = 1.0
MAX_SLOW_LOOKUPS = 32
#: The lookups of one channel at a time, unless the settings say otherwise.
CHANNEL_LOOKUPS = 2
#: The most slow names that are remembered.
_MAX_SLOW_NAMES = 10_000


class DaemonThreadPool(ThreadPool):
    """A pool of threads that do not delay the end of the process."""

    @staticmethod
    def threadFactory(*args: Any, **kwargs: Any) -> Thread:  # type: ignore[override]
        return Thread(*args, daemon=True, **kwargs)


@define(eq=False, repr=False)
class _Lookups:
    """The lookups of one channel: the number of running lookups, and the names that wait."""

    under_way: int = 0
    waiting: deque[tuple[str, int]] = field(factory=deque)


class Resolver:
    """
    A resolver that looks up the addresses of hosts in threads.

    Each channel has a limit of lookups at a time, so that names of one channel, whose server does
    not answer, cannot take all threads.

    :param reactor: runs the callbacks of the threads, and is the clock.
    :param getaddrinfo: the lookup function; the default is that of the system.
    :param channel_lookups: the maximum number of lookups of a channel at a time.
    """

    def __init__(
        self,
        reactor: IReactor,
        getaddrinfo: Callable[..., Sequence[Any]] = socket.getaddrinfo,
        pool: ThreadPool | None = None,
        channel_lookups: int = CHANNEL_LOOKUPS,
    ) -> None:
        self._reactor = reactor
        self._getaddrinfo = getaddrinfo
        self._channel_lookups = channel_lookups
        self._pool = pool or DaemonThreadPool(0, MAX_LOOKUPS, "drains' names")
        self._slow_pool = pool or DaemonThreadPool(0, MAX_SLOW_LOOKUPS, "drains' slow names")
        self._slow: set[str] = set()
        self._waiting: dict[tuple[str, int], list[Deferred[list[Address]]]] = {}
        self._channels: dict[str, _Lookups] = {}

    def of(self, channel_id: str) -> ChannelResolver:
        """Return a resolver for the drains of one channel."""
        return ChannelResolver(self, channel_id)

    def lookup(self, host: str, port: int, channel_id: str) -> Deferred[list[Address]]:
        """
        Return the addresses of a host, the best address first. The result fails with
        :class:`OSError` if there are none.

        :param host: a name, or an address.
        """
        literal = _literal(host, port)
        if literal is not None:
            return succeed([literal])
        result: Deferred[list[Address]] = Deferred()
        waiting = self._waiting.setdefault((host, port), [])
        waiting.append(result)
        if len(waiting) == 1:
            if host in self._slow:
                self._look_up(self._slow_pool, host, port).addBoth(self._found, host, port)
            else:
                lookups = self._channels.setdefault(channel_id, _Lookups())
                lookups.waiting.append((host, port))
                self._begin(lookups, channel_id)
        return result

    def _begin(self, lookups: _Lookups, channel_id: str) -> None:
        """Start waiting lookups of a channel, up to the limit of the channel."""
        while lookups.waiting and lookups.under_way < self._channel_lookups:
            host, port = lookups.waiting.popleft()
            if all(each.called for each in self._waiting[host, port]):
                # All callers have given up.
                del self._waiting[host, port]
                continue
            lookups.under_way += 1
            looking = self._look_up(self._pool, host, port)
            looking.addBoth(self._found, host, port).addBoth(self._ended, lookups, channel_id)
        if not (lookups.waiting or lookups.under_way):
            self._channels.pop(channel_id, None)

    def _ended(self, _: object, lookups: _Lookups, channel_id: str) -> None:
        lookups.under_way -= 1
        self._begin(lookups, channel_id)

    def _look_up(self, pool: ThreadPool, host: str, port: int) -> Deferred[Sequence[Any]]:
        if not pool.started:
            pool.start()
        began_at = self._reactor.seconds()

        def time_taken(result: T) -> T:
            if self._reactor.seconds() - began_at > SLOW_S:
                if len(self._slow) >= _MAX_SLOW_NAMES:
                    self._slow.clear()
                self._slow.add(host)
            else:
                self._slow.discard(host)
            return result

        return deferToThreadPool(
            self._reactor, pool, self._getaddrinfo, host, port, 0, socket.SOCK_STREAM
        ).addBoth(time_taken)

    def _found(self, result: Sequence[Any] | Failure, host: str, port: int) -> None:
        for waiting in self._waiting.pop((host, port)):
            if isinstance(result, Failure):
                waiting.errback(result)
            else:
                waiting.callback([_address(family, each) for family, *_, each in result])


@implementer(IHostnameResolver)
@frozen(eq=False, repr=False)
class ChannelResolver:
    """A resolver that looks up the addresses of hosts for the drains of one channel."""

    resolver: Resolver
    channel_id: str

    def lookup(self, host: str, port: int) -> Deferred[list[Address]]:
        """See :meth:`Resolver.lookup`."""
        return self.resolver.lookup(host, port, self.channel_id)

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


def _literal(host: str, port: int) -> Address | None:
    """Return the host if the host is an address, which needs no lookup; else ``None``."""
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
        """
        See :class:`IHostResolution`. The thread continues, because a thread cannot be stopped, but
        its result is not used.
        """
