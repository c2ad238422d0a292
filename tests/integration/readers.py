# SPDX-License-Identifier: Apache-2.0

"""
Readers of sessions, who remember everything that they were shown.
"""

from __future__ import annotations

import re
import socket
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from tests.integration.node import Node
from tests.integration.process import reactor, until
from tests.integration.senders import numbers_in

_L11 = re.compile(rb"Error L11 .* dropped (\d+) messages since")


class _Connection(Protocol):
    """One request and its chunked answer."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._received = bytearray()
        self.head = b""
        self.body = bytearray()
        self.is_whole = False
        self.is_closed = False

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        if not self.head:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            self.head = bytes(self._received[:end])
            del self._received[: end + 4]
        start = 0
        while True:
            line_end = self._received.find(b"\r\n", start)
            if line_end < 0:
                break
            size = int(self._received[start:line_end], 16)
            end = line_end + 2 + size
            if len(self._received) < end + 2:
                break
            self.body += self._received[line_end + 2 : end]
            self.is_whole = self.is_whole or not size
            start = end + 2
        del self._received[:start]

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.is_closed = True


class Reader:
    """
    Reads a session.

    :ivar shown: what earlier connections brought, without what was cut off in the middle.
    """

    def __init__(self, node: Node, path: str, events: bool = False) -> None:
        self.events = events
        self.shown = bytearray()
        self._node = node
        self._path = path
        self._last_id = b""
        self.connection = _Connection(b"")

    async def open(self, receive_buffer_bytes: int | None = None) -> None:
        """
        Connect, and wait for the head of the answer.

        :param receive_buffer_bytes: of the kernel, for readers who are to be slow.
        """
        lines = [f"GET {self._path} HTTP/1.1".encode(), b"Host: localhost"]
        if self.events:
            lines.append(b"Accept: text/event-stream")
        if self._last_id:
            lines.append(b"Last-Event-ID: " + self._last_id)
        self.connection = connection = _Connection(b"\r\n".join([*lines, b"", b""]))
        opened = socket.socket()
        if receive_buffer_bytes is not None:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        opened.connect(("127.0.0.1", self._node.ports["api"]))
        opened.setblocking(False)
        reactor.adoptStreamConnection(
            opened.fileno(), socket.AF_INET, Factory.forProtocol(lambda: connection)
        )
        opened.close()

        async def answered() -> bool:
            return bool(connection.head)

        await until(answered, "the session answers")

    async def cut(self, node: Node | None = None) -> None:
        """Break the connection, and come back for what was not seen, perhaps to another node."""
        self.close()
        self._node = node or self._node
        await self.open()

    def close(self) -> None:
        transport: Any = self.connection.transport
        transport.abortConnection()
        body = self.connection.body
        if self.events:
            # A client knows nothing of an event that has not ended.
            body = body[: body.rfind(b"\n\n") + 2] if b"\n\n" in body else bytearray()
            ids = re.findall(rb"^id: (\d+)$", body, re.MULTILINE)
            self._last_id = ids[-1] if ids else self._last_id
        self.shown += body
        self.connection.body = bytearray()

    def pause(self) -> None:
        """Read no more for now."""
        transport: Any = self.connection.transport
        transport.pauseProducing()

    def resume(self) -> None:
        transport: Any = self.connection.transport
        transport.resumeProducing()

    def lines(self) -> list[bytes]:
        return bytes(self.shown + self.connection.body).split(b"\n")

    def numbers(self) -> list[int]:
        """The numbers of the messages shown, in the order in which they came."""
        return numbers_in(self.lines())

    def numbers_and_losses(self) -> list[int | None]:
        """The same, with a ``None`` for each message that is told to be lost."""
        found: list[int | None] = []
        for line in self.lines():
            lost = _L11.search(line)
            found += [None] * int(lost[1]) if lost else numbers_in([line])
        return found


async def session(node: Node, channel_id: str, **fields: object) -> str:
    """Make a session and return its path."""
    made = await node.request("POST", "/v3/sessions", {"channel_id": channel_id, **fields})
    if made.status != 201:
        raise AssertionError(f"no session: {made}")
    url: str = made.json()["url"]
    return urlsplit(url).path
