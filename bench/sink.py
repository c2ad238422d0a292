# SPDX-License-Identifier: Apache-2.0

"""
Receivers that count and forget, far cheaper than what they measure. Each a process of its own::

    python -m bench.sink http
    python -m bench.sink tcp

A sink prints ``port N``, answers each line on its standard input with one line of JSON about what
has come so far, and ends when its standard input does.
"""

from __future__ import annotations

import json
import re
import resource
import select
import socket
import sys
from typing import Protocol

_BUFFER_BYTES = 1_048_576
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_COUNT = re.compile(rb"(?i)\r\nlogplex-msg-count: *(\d+)")


class Counted:
    """The counts of a sink."""

    def __init__(self) -> None:
        self.messages = 0
        self.bytes = 0
        self.requests = 0
        self.connections = 0

    def line(self) -> str:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return json.dumps(vars(self) | {"cpu_s": used.ru_utime + used.ru_stime})


class Reader(Protocol):
    """The state of one connection to a sink."""

    def received(self, buffer: bytearray, size: int, connection: socket.socket) -> None:
        """Take a number of bytes from the start of the buffer."""


class HttpReader:
    """Reads heads, skips bodies, answers 200."""

    def __init__(self, counted: Counted) -> None:
        self._counted = counted
        self._head = b""
        self._missing = 0

    def received(self, buffer: bytearray, size: int, connection: socket.socket) -> None:
        start = min(self._missing, size)
        self._missing -= start
        if start and not self._missing:
            self._answer(connection)
        while start < size:
            end = buffer.find(b"\r\n\r\n", start, size)
            if end < 0 or self._head:  # a head in several pieces is rare: join what there is
                self._head += buffer[start:size]
                end = self._head.find(b"\r\n\r\n")
                if end < 0:
                    return
                head, rest = self._head[:end], len(self._head) - end - 4
                start, self._head = size - rest, b""
            else:
                head = bytes(buffer[start:end])
                start = end + 4
            length, count = _LENGTH.search(head), _COUNT.search(head)
            if length is None or count is None:
                raise SystemExit(f"not a drain's request: {head[:200]!r}")
            self._counted.requests += 1
            self._counted.messages += int(count[1])
            here = min(int(length[1]), size - start)
            self._missing = int(length[1]) - here
            start += here
            if not self._missing:
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        connection.send(_ANSWER)


class TcpReader:
    """Counts line feeds: a syslog drain's frames end in one."""

    def __init__(self, counted: Counted) -> None:
        self._counted = counted

    def received(self, buffer: bytearray, size: int, connection: socket.socket) -> None:
        self._counted.messages += buffer.count(b"\n", 0, size)


def serve(kind: type[HttpReader] | type[TcpReader]) -> None:
    """Listen on a free port until the standard input ends."""
    counted = Counted()
    listening = socket.create_server(("127.0.0.1", 0), backlog=4_096)
    print("port", listening.getsockname()[1], flush=True)
    buffer = bytearray(_BUFFER_BYTES)
    connections: dict[int, tuple[socket.socket, Reader]] = {}
    poll = select.epoll()
    commands = sys.stdin.fileno()
    for watched in (commands, listening.fileno()):
        poll.register(watched, select.EPOLLIN)
    while True:
        for number, _ in poll.poll():
            if number == commands:
                if not sys.stdin.readline():
                    return
                print(counted.line(), flush=True)
            elif number == listening.fileno():
                accepted = listening.accept()[0]
                counted.connections += 1
                connections[accepted.fileno()] = accepted, kind(counted)
                poll.register(accepted.fileno(), select.EPOLLIN)
            else:
                connection, reader = connections[number]
                try:
                    size = connection.recv_into(buffer)
                except ConnectionError:
                    size = 0
                counted.bytes += size
                if size:
                    reader.received(buffer, size, connection)
                else:
                    poll.unregister(number)
                    del connections[number]
                    connection.close()


if __name__ == "__main__":
    serve(HttpReader if sys.argv[1] == "http" else TcpReader)
