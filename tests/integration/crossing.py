# SPDX-License-Identifier: Apache-2.0

"""
A way to a node that can be cut, and leads to where the node listens now.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.protocols.portforward import ProxyFactory

from tests.integration.process import reactor


class Crossing(ProxyFactory):
    """
    Listens on a port of its own, and forwards every connection.

    :ivar target: the port that it forwards to.
    """

    noisy = False

    def __init__(self) -> None:
        super().__init__("127.0.0.1", 0)
        self._ways: list[Any] = []
        self._listening: IListeningPort = reactor.listenTCP(0, self, interface="127.0.0.1")

    @property
    def port_number(self) -> int:
        """The port on which it listens."""
        address: Any = self._listening.getHost()
        number: int = address.port
        return number

    def lead_to(self, port: int) -> None:
        """Forward to this port from now on."""
        self.port = port

    def buildProtocol(self, addr: IAddress | None) -> Any:
        way = super().buildProtocol(addr)
        self._ways.append(way)
        return way

    def cut(self) -> int:
        """Cut every connection in the middle of what it says. How many there were."""
        ways = [way for way in self._ways if way.transport.connected]
        for way in ways:
            way.transport.abortConnection()
        self._ways.clear()
        return len(ways)

    def close(self) -> Deferred[None] | None:
        """Be gone."""
        self.cut()
        return self._listening.stopListening()
