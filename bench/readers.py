# SPDX-License-Identifier: Apache-2.0

"""
Readers of one session who count lines, and those that came twice, cheaper than the node that writes
them; the first also measures how old they are. A process of its own::

    python -m bench.readers --port 8001 --readers 100 /sessions/…

Prints ``open`` when all are, and answers each line on its standard input with one line of JSON
about what has come since the line before.
"""

from __future__ import annotations

import argparse
import json
import re
import select
import socket
import sys
import time

_BUFFER_BYTES = 262_144
_SENT_AT = re.compile(rb" at=(\d+) ")
#: How many connections may be opened without one of them being answered.
_IN_FLIGHT = 50


def opened(port: int, path: str, readers: int) -> list[socket.socket]:
    """Connections on which the head of the answer has come."""
    request = (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"
        "User-Agent: bench\r\n\r\n"
    ).encode()
    connections: list[socket.socket] = []
    for number in range(readers):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(request)
        connections.append(connection)
        if number % _IN_FLIGHT == _IN_FLIGHT - 1 or number == readers - 1:
            for each in connections[-_IN_FLIGHT:]:
                if not each.recv(_BUFFER_BYTES, socket.MSG_PEEK).startswith(b"HTTP/1.1 200"):
                    raise SystemExit("a reader is not answered with 200")
    return connections


class Counted:
    """The lines that a reader has received."""

    def __init__(self) -> None:
        self.lines = 0
        self.doubled = 0
        self.ages_ms: list[float] = []

    def line(self) -> str:
        ages = sorted(self.ages_ms) or [0.0]
        said = {
            "lines": self.lines,
            "doubled": self.doubled,
            "p50_ms": ages[len(ages) // 2],
            "p99_ms": ages[len(ages) * 99 // 100],
        }
        return json.dumps(said)


class Reader:
    """One tail: an event stream, whose events carry consecutive numbers."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._rest = b""
        self._last: int | None = None

    def read(self, buffer: bytearray, counted: Counted) -> bytes:
        """Read all available bytes; return the whole lines."""
        size = self.connection.recv_into(buffer)
        if not size:
            raise SystemExit("the node has closed a tail")
        data = self._rest + memoryview(buffer)[:size]
        end = data.rfind(b"\n") + 1
        data, self._rest = data[:end], data[end:]
        counted.lines += data.count(b" at=")
        self._compare(data, counted)
        return data

    def _compare(self, data: bytes, counted: Counted) -> None:
        """
        Hold the first and the last number against how many there are, and against the last before:
        to look at each would take as much time as the node needs for a line.
        """
        numbers = data.count(b"id: ")
        if numbers:
            first, last = _number(data, data.find(b"id: ")), _number(data, data.rfind(b"id: "))
            excess = numbers - (last - first + 1)
            if self._last is not None:
                excess += self._last + 1 - first
            counted.doubled += max(0, excess)
            self._last = last


def _number(data: bytes, at: int) -> int:
    """The number of the event whose ``id`` line begins here."""
    return int(data[at + len(b"id: ") : data.index(b"\n", at)])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.readers", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--readers", type=int, required=True)
    parser.add_argument("path")
    given = parser.parse_args()
    connections = opened(given.port, given.path, given.readers)
    readers = {connection.fileno(): Reader(connection) for connection in connections}
    measured = connections[0].fileno()
    poll = select.epoll()
    poll.register(sys.stdin.fileno(), select.EPOLLIN)
    for fileno in readers:
        poll.register(fileno, select.EPOLLIN)
    print("open", flush=True)
    counted = Counted()
    buffer = bytearray(_BUFFER_BYTES)
    while True:
        for fileno, _ in poll.poll():
            if fileno == sys.stdin.fileno():
                if not sys.stdin.readline():
                    return
                print(counted.line(), flush=True)
                counted = Counted()
                continue
            came = readers[fileno].read(buffer, counted)
            if fileno == measured:
                now = time.monotonic_ns()
                counted.ages_ms += [(now - int(sent)) / 1e6 for sent in _SENT_AT.findall(came)]


if __name__ == "__main__":
    main()
