# SPDX-License-Identifier: Apache-2.0

"""
A steady stream of messages that say when they were sent, for latencies. A process of its own::

    python -m bench.stamped --port 6001 --messages 50000 --rate 5000 TOKEN

The times are the system's monotonic clock, which all processes share. Prints one line of JSON when
everything is sent.
"""

from __future__ import annotations

import argparse
import json
import socket
import time

from bench.load import FRAME_BYTES, MESSAGE_BYTES

#: How often it sends.
_TICK_S = 0.002


def frames(token: bytes, count: int) -> bytes:
    """So many messages, octet-counted, sent now."""
    head = b"<134>1 2026-01-02T03:04:05.000006+00:00 host.example %b web.1 - - at=%d " % (
        token,
        time.monotonic_ns(),
    )
    return b"%d %b" % (MESSAGE_BYTES, head.ljust(MESSAGE_BYTES, b"x")) * count


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.stamped", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--messages", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="messages a second")
    parser.add_argument("token")
    given = parser.parse_args()
    with socket.create_connection(("127.0.0.1", given.port)) as connection:
        # Otherwise the kernel holds back what is sent before the last piece was acknowledged.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        start = time.monotonic()
        sent = 0
        while sent < given.messages:
            time.sleep(_TICK_S)
            due = min(given.messages, int((time.monotonic() - start) * given.rate))
            if due > sent:
                connection.sendall(frames(given.token.encode(), due - sent))
                sent = due
        seconds = time.monotonic() - start
    print(json.dumps({"seconds": seconds, "bytes": sent * FRAME_BYTES}), flush=True)


if __name__ == "__main__":
    main()
