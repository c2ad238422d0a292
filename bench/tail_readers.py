"""
Many readers of one tail session in one process, and how late the messages reach them::

    python -m bench.tail_readers --api-port 8001 --path /sessions/… --tails 100

Prints ``open`` when all tails are, answers each line on its standard input with one line of JSON
about what has come so far, and ends when its standard input does. With ``--syslog-port`` and
``--token`` it also sends a message every few milliseconds that says when it was sent.
"""

from __future__ import annotations

import argparse
import json
import re
import select
import socket
import sys
import time
from statistics import quantiles

_BUFFER_BYTES = 1_048_576

#: What every line has once: the end of SOURCE[PROCID].
_MARK = b"[web.1]: "
_STAMP = re.compile(rb"sent=(\d+) ")

#: How often a stamped message is sent.
_STAMP_INTERVAL_S = 0.02

#: So many tails are opened before the answers are waited for: less than a listening socket's
#: backlog.
_OPENED_AT_ONCE = 32


class Tail:
    """One open tail: how many lines it had."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.lines = 0
        self._end = b""

    def read(self, buffer: bytearray, size: int) -> bytes:
        """Count the lines of the first so many bytes of the buffer; give the bytes."""
        # The mark may be in two pieces: keep what might be the beginning of one.
        data = self._end + bytes(memoryview(buffer)[:size])
        self.lines += data.count(_MARK)
        self._end = data[-len(_MARK) + 1 :]
        return data


def open_tails(port: int, path: str, count: int) -> list[Tail]:
    """Open so many tails; returns when each has its answer's head."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    tails: list[Tail] = []
    while len(tails) < count:
        opening = []
        for _ in range(min(_OPENED_AT_ONCE, count - len(tails))):
            connection = socket.create_connection(("127.0.0.1", port))
            connection.sendall(request)
            opening.append(Tail(connection))
        for tail in opening:
            head = tail.connection.recv(4_096)
            if not head.startswith(b"HTTP/1.1 200 "):
                raise SystemExit(f"no tail: {head[:200]!r}")
        tails += opening
    return tails


class Prober:
    """Sends messages that say when they were sent, and reads how long ago that was."""

    def __init__(self, port: int, token: str) -> None:
        self.delays_ms: list[float] = []
        self._connection = socket.create_connection(("127.0.0.1", port))
        self._head = f"<134>1 2026-01-02T03:04:05.000006+00:00 host {token} web.1 - - ".encode()

    def send(self) -> None:
        message = b"%b sent=%d ." % (self._head, time.monotonic_ns())
        self._connection.sendall(b"%d %b" % (len(message), message))

    def read(self, data: bytes) -> None:
        now = time.monotonic_ns()
        self.delays_ms += [(now - int(sent)) / 1e6 for sent in _STAMP.findall(data)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--api-port", type=int, required=True)
    parser.add_argument("--path", required=True, help="the session's")
    parser.add_argument("--tails", type=int, required=True)
    parser.add_argument("--syslog-port", type=int)
    parser.add_argument("--token", default="")
    given = parser.parse_args()
    tails = open_tails(given.api_port, given.path, given.tails)
    prober = Prober(given.syslog_port, given.token) if given.syslog_port else None
    print("open", flush=True)
    _serve(tails, prober)


def _serve(tails: list[Tail], prober: Prober | None) -> None:
    buffer = bytearray(_BUFFER_BYTES)
    by_number = {tail.connection.fileno(): tail for tail in tails}
    commands = sys.stdin.fileno()
    poll = select.epoll()
    for watched in (commands, *by_number):
        poll.register(watched, select.EPOLLIN)
    due = time.monotonic()
    while True:
        if prober and time.monotonic() >= due:
            prober.send()
            due += _STAMP_INTERVAL_S
        for number, _ in poll.poll(max(0.0, due - time.monotonic()) if prober else None):
            if number == commands:
                if not sys.stdin.readline():
                    return
                print(json.dumps(_counted(tails, prober)), flush=True)
                continue
            tail = by_number[number]
            size = tail.connection.recv_into(buffer)
            if not size:
                raise SystemExit("a tail was closed")
            data = tail.read(buffer, size)
            if prober and tail is tails[0]:
                prober.read(data)


def _counted(tails: list[Tail], prober: Prober | None) -> dict[str, float]:
    counted: dict[str, float] = {"lines": sum(tail.lines for tail in tails)}
    if prober and len(prober.delays_ms) > 1:
        percentiles = quantiles(prober.delays_ms, n=100)
        counted |= {"p50_ms": percentiles[49], "p99_ms": percentiles[98]}
    return counted


if __name__ == "__main__":
    main()
