# SPDX-License-Identifier: Apache-2.0

"""
The messages of the benchmark, and the cheapest way to send many of them.

Every message has the same length, so a prebuilt block can be cut at any message; a second of
sending is a handful of system calls. Run as a process of its own::

    python -m bench.load syslog --port 6001 --messages 1000000 --rate 50000 TOKEN…
    python -m bench.load post --port 8601 --messages 1000000 --user id:password TOKEN…

It prints one line of JSON when the node has read everything.
"""

from __future__ import annotations

import argparse
import base64
import json
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import cycle, islice

MESSAGE_BYTES = 225
FRAME_BYTES = len(b"%d " % MESSAGE_BYTES) + MESSAGE_BYTES

#: How much is handed to the kernel at once where no rate is set.
_BLOCK_BYTES = 1_048_576
#: How often a paced sender sends.
_TICK_S = 0.005
#: Requests in flight, each on a connection of its own.
_POST_CONNECTIONS = 4


def frame(token: str) -> bytes:
    """One octet-counted message of :data:`MESSAGE_BYTES`."""
    head = b"<134>1 2026-01-02T03:04:05.000006+00:00 host.example %b web.1 - - " % token.encode()
    return b"%d %b" % (MESSAGE_BYTES, head.ljust(MESSAGE_BYTES, b"x"))


def block(tokens: Sequence[str], size_bytes: int) -> bytes:
    """Return frames of all tokens in turn, a whole number of turns, of about this size in bytes."""
    turn = b"".join(map(frame, tokens))
    return turn * max(1, size_bytes // len(turn))


class Pace:
    """
    Messages at a steady rate. What a busy machine made late is not made up for in a burst, which
    would overflow buffers that the rate alone never fills.

    :param rate: messages a second; ``None``: as fast as they are taken.
    """

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._due = time.monotonic()

    def wait(self, messages: int) -> None:
        """Wait until this number of messages may be sent."""
        if self._rate is not None:
            self._due = max(self._due, time.monotonic() - _TICK_S) + messages / self._rate
            time.sleep(max(0.0, self._due - time.monotonic()))


def pieces(tokens: Sequence[str], messages: int, rate: float | None) -> Iterator[memoryview]:
    """So many messages in pieces, each at its time."""
    whole = memoryview(block(tokens, _BLOCK_BYTES))
    in_block = len(whole) // FRAME_BYTES
    each = max(1, int(rate * _TICK_S)) if rate else in_block
    pace = Pace(rate)
    sent = 0
    while sent < messages:
        first = sent % in_block
        count = min(each, messages - sent, in_block - first)
        pace.wait(count)
        yield whole[first * FRAME_BYTES : (first + count) * FRAME_BYTES]
        sent += count


def send_syslog(
    port: int, tokens: Sequence[str], messages: int, rate: float | None, connections: int
) -> None:
    """
    Send over so many TCP connections; returns when the peer has read everything and closed.

    Over one, messages go in large pieces; over several, each by itself over the next.
    """
    with ExitStack() as opened:
        senders = [
            opened.enter_context(socket.create_connection(("127.0.0.1", port)))
            for _ in range(connections)
        ]
        turns = cycle(senders)
        for piece in pieces(tokens, messages, rate):
            size = FRAME_BYTES if connections > 1 else len(piece)
            for start in range(0, len(piece), size):
                next(turns).sendall(piece[start : start + size])
        for sender in senders:
            sender.shutdown(socket.SHUT_WR)
            sender.recv(1)


def send_posts(
    port: int, user: str, tokens: Sequence[str], messages: int, rate: float | None, each: int
) -> None:
    """Send requests of ``each`` messages, a few at a time; returns after the last answer."""
    body = b"".join(islice(cycle(map(frame, tokens)), each))
    head = (
        "POST /logs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/logplex-1\r\n"
        f"Authorization: Basic {base64.b64encode(user.encode()).decode()}\r\n"
        f"Logplex-Msg-Count: {each}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    request = head.encode() + body
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(_POST_CONNECTIONS)]
    pace = Pace(rate)
    requests = messages // each
    for number in range(requests):
        connection = connections[number % len(connections)]
        if number >= len(connections):
            _answered(connection)
        pace.wait(each)
        connection.sendall(request)
    for connection in connections[:requests]:
        _answered(connection)
        connection.close()


def _answered(connection: socket.socket) -> None:
    """Read an answer without a body, and insist that it says all is well."""
    answer = connection.recv(65_536)
    if not answer.startswith((b"HTTP/1.1 204", b"HTTP/1.1 200")):
        raise SystemExit(f"the node answers {answer[:200]!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("how", choices=("syslog", "post"))
    parser.add_argument("tokens", nargs="+", metavar="TOKEN")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--messages", type=int, required=True)
    parser.add_argument("--rate", type=float, help="messages a second; as fast as possible")
    parser.add_argument("--user", default="", help="id:password, for post")
    parser.add_argument("--connections", type=int, default=1, help="for syslog")
    parser.add_argument("--each", type=int, default=500, help="messages a request, for post")
    given = parser.parse_args()
    started = time.monotonic()
    cpu = time.process_time()
    if given.how == "syslog":
        send_syslog(given.port, given.tokens, given.messages, given.rate, given.connections)
    else:
        send_posts(given.port, given.user, given.tokens, given.messages, given.rate, given.each)
    seconds = time.monotonic() - started
    print(json.dumps({"seconds": seconds, "cpu_s": time.process_time() - cpu}), flush=True)


if __name__ == "__main__":
    main()
