"""How an answer watches over its connection."""

from __future__ import annotations

import socket

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from logplex.tails.page import END_TIMEOUT_S
from tests.doubles.session_node import Connection, SessionNode


class SocketTransport(StringTransport):
    """A transport with a socket under it, which closes only by force."""

    def __init__(self, handle: socket.socket) -> None:
        super().__init__()
        self.handle = handle
        self.is_aborted = False

    def getHandle(self) -> socket.socket:
        return self.handle

    def abortConnection(self) -> None:
        self.is_aborted = True

    def unregisterProducer(self) -> None:
        """As TCP transports do: more than once is well."""
        self.producer = None


class SocketConnection(Connection):
    def __init__(self, node: SessionNode, handle: socket.socket) -> None:
        self.protocol = node.site.buildProtocol(None)
        self.stubborn = SocketTransport(handle)
        self.protocol.makeConnection(self.stubborn)


class ConnectionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.node = SessionNode()
        self.socket = socket.socket()
        self.addCleanup(self.socket.close)

    def open(self, tail: bool = False) -> SocketConnection:
        connection = SocketConnection(self.node, self.socket)
        self.node.put_session(tail=tail)
        self.node.get(connection=connection)
        return connection

    def test_the_kernel_looks_after_hosts_that_vanish(self) -> None:
        self.open(tail=True)
        option = self.socket.getsockopt
        self.assertEqual(1, option(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        self.assertEqual(60, option(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE))
        self.assertEqual(15, option(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL))
        self.assertEqual(4, option(socket.IPPROTO_TCP, socket.TCP_KEEPCNT))

    def test_who_does_not_take_the_end_is_cut_off(self) -> None:
        connection = self.open()
        self.assertTrue(connection.stubborn.disconnecting)
        self.node.clock.advance(END_TIMEOUT_S)
        self.assertFalse(connection.stubborn.is_aborted)
        self.node.clock.advance(connection.protocol.abortTimeout)
        self.assertTrue(connection.stubborn.is_aborted)
