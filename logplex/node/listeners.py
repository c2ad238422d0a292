# SPDX-License-Identifier: Apache-2.0

"""
Listeners: the ports that a node opens, named after their options in ``[listen]``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from attrs import frozen
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from logplex.hosts import host_and_port
from logplex.interfaces import IReactor
from logplex.node.proxy_protocol import ProxyFactory

_log = Logger()

#: The endpoints behind a balancer that speaks the PROXY protocol begin so.
_PROXIED = "haproxy:"


@frozen
class Listener:
    """
    A port that the node opens.

    :ivar name: the name of the port's option in ``[listen]``.
    :ivar endpoint: a server endpoint string of Twisted.
    """

    name: str
    endpoint: str
    factory: IProtocolFactory


class CannotListen(Exception):
    """A port cannot be opened. The text names the port and the reason in one line."""


def open_ports(reactor: IReactor, listeners: Iterable[Listener]) -> list[IListeningPort]:
    """
    Open all ports. If one port cannot be opened, open none.

    :raise CannotListen: a port cannot be opened. The ports that were opened before are closed
        again.
    """
    ports: list[IListeningPort] = []
    for listener in listeners:
        try:
            port = _listen(reactor, listener)
        # Endpoints, and plugins for them, raise any exception (OverflowError: a port above 65535).
        except Exception as error:
            close_ports(ports)
            text = " ".join(str(getattr(error, "socketError", None) or error).split())
            raise CannotListen(
                f"[listen] {listener.name} = {listener.endpoint!r}: {text or type(error).__name__}"
            ) from None
        ports.append(port)
        _log.info(
            "listening: {name} on {address}", name=listener.name, address=describe(port.getHost())
        )
    return ports


def close_ports(ports: Iterable[IListeningPort]) -> Deferred[Any]:
    """
    Close the ports. The result fires when no client can connect any more. Open connections stay.
    """
    stopped = [port.stopListening() for port in ports]
    return DeferredList([each for each in stopped if each is not None], consumeErrors=True)


def describe(address: IAddress) -> str:
    """
    Return a text for an address, such as ``tcp 127.0.0.1:6001``, ``tcp [::1]:6001`` or ``unix
    /run/logplex.sock``.
    """
    if isinstance(address, (IPv4Address, IPv6Address)):
        return f"tcp {host_and_port(address.host, address.port)}"
    if isinstance(address, UNIXAddress):
        return f"unix {os.fsdecode(address.name or b'')}"
    return str(address)


def _listen(reactor: IReactor, listener: Listener) -> IListeningPort:
    """
    Open one port, and return it. Endpoints of Twisted open a port at once, so no Deferred is
    needed.
    """
    opened: list[IListeningPort | Failure] = []
    text, factory = listener.endpoint, listener.factory
    if text.startswith(_PROXIED):
        text, factory = text.removeprefix(_PROXIED), ProxyFactory(factory, reactor)
    serverFromString(reactor, text).listen(factory).addBoth(opened.append)
    if not opened:
        raise ValueError("an endpoint that opens later cannot be used here")
    if isinstance(opened[0], Failure):
        opened[0].raiseException()
    if not IListeningPort.providedBy(opened[0]):
        raise ValueError("it does not open a port")
    return opened[0]
