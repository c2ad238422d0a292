# SPDX-License-Identifier: Apache-2.0

"""
The clients of :mod:`tests.integration.test_neighbours`, each in a process of its own.

``python -m tests.integration.misuse KIND PORTS`` misuses a node in one way until it is killed.
``python -m tests.integration.misuse neighbour PORTS`` sends the requests of a tenant that does
nothing wrong, and writes the 99th percentile of their times in seconds, each time it reads a line.
PORTS is JSON: the ports of the node by the names of its listeners, and the tokens of the channels.
"""

from __future__ import annotations

import base64
import gzip
import http.client
import itertools
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.integration.senders import numbered, octet_counted

#: The requests of a neighbour in one measurement.
REQUESTS = 200
_PAUSE_S = 0.005
#: The address of those who misuse; the neighbour has another one.
_ADDRESS = "127.0.0.2"
_CREDENTIAL = "local:password"

Target = dict[str, Any]


def _basic(credential: str) -> str:
    return "Basic " + base64.b64encode(credential.encode()).decode()


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 20, (_ADDRESS, 0))


def _post_head(token: str, length: int, *more: str) -> bytes:
    lines = [
        "POST /logs HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/logplex-1",
        f"Authorization: {_basic('token:' + token)}",
        f"Content-Length: {length}",
        *more,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _ask(port: int, method: str, path: str, body: Any = None, credential: str = "") -> int:
    """Send a request of API v3 over a connection of its own, and return the status."""
    headers = {"Authorization": _basic(credential or _CREDENTIAL)}
    if body is not None:
        headers["Content-Type"] = "application/json"
    connection = http.client.HTTPConnection("127.0.0.1", port, 20, (_ADDRESS, 0))
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def _again(function: Callable[[], object], times: int = 4) -> None:
    """Call a function again and again in some threads; a refused connection ends no thread."""

    def go_on() -> None:
        while True:
            try:
                function()
            except (OSError, http.client.HTTPException):
                time.sleep(_PAUSE_S)

    threads = [threading.Thread(target=go_on) for _ in range(times)]
    for thread in threads:
        thread.start()


def unread_tails(target: Target) -> None:
    """Open tails and read nothing of them, while their channel is written."""
    body = json.dumps({"channel_id": "loud", "tail": True})
    for _ in range(50):
        connection = http.client.HTTPConnection("127.0.0.1", target["api_v3"], 20)
        headers = {"Authorization": _basic(_CREDENTIAL), "Content-Type": "application/json"}
        connection.request("POST", "/v3/sessions", body, headers)
        answer = connection.getresponse()
        url = json.loads(answer.read())["url"]
        tail = _connect(target["api"])
        tail.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        path = "/" + url.split("/", 3)[3]
        tail.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        _kept.append(tail)
    frames = octet_counted(numbered(target["loud"], range(100)))
    syslog = _connect(target["syslog"])
    while True:
        syslog.sendall(frames)
        time.sleep(2 * _PAUSE_S)


def dripping_bodies(target: Target) -> None:
    """Send many bodies at a time, a byte of each now and then."""
    bodies = [_connect(target["logs"]) for _ in range(300)]
    for body in bodies:
        body.sendall(_post_head(target["loud"], 7_900_000))
    for body in itertools.cycle(bodies):
        body.sendall(b"1")
        time.sleep(0.001)


def unfinished_bodies(target: Target) -> None:
    """Send all of large bodies but their ends, more than may wait."""
    piece = b"1" * 65_536

    def one() -> None:
        body = _connect(target["logs"])
        _kept.append(body)
        body.sendall(_post_head(target["loud"], 7_900_000))
        for _ in range(120):
            body.sendall(piece)
            time.sleep(_PAUSE_S)

    _again(one, 4)


def compressed_bodies(target: Target) -> None:
    """Send bodies that are large when they are decompressed."""
    frames = octet_counted(numbered(target["loud"], range(50_000)))
    body = gzip.compress(frames, 1)

    def one() -> None:
        connection = _connect(target["logs"])
        head = _post_head(target["loud"], len(body), "Content-Encoding: gzip")
        connection.sendall(head + body)
        connection.recv(4_096)
        connection.close()

    _again(one, 8)


def silent_connections(target: Target) -> None:
    """Open connections, and send nothing."""
    ports = itertools.islice(itertools.cycle((target["logs"], target["syslog"])), 900)
    _kept.extend(map(_connect, ports))


def one_byte_frames(target: Target) -> None:
    """Send frames of one byte."""
    frames = b"1 x" * 20_000

    def one() -> None:
        connection = _connect(target["syslog"])
        while True:
            connection.sendall(frames)

    _again(one, 2)


def many_names(target: Target) -> None:
    """Put a channel with more tokens than are permitted."""
    body = {"tokens": [f"name-{number}" for number in range(20_000)]}
    _again(lambda: _ask(target["api_v3"], "PUT", "/v3/channels/loud", body), 2)


def guesses(target: Target) -> None:
    """Try one password for many ids."""
    ids: Iterator[int] = itertools.count()

    def guess() -> None:
        _ask(target["api_v3"], "GET", "/v3/channels/quiet", None, f"id{next(ids)}:password1")

    _again(guess, 8)


def neighbour(target: Target) -> None:
    """Measure the requests of a tenant that does nothing wrong, once for each line of input."""
    body = octet_counted(numbered(target["quiet"], [1]))
    logs = {
        "Authorization": _basic("token:" + target["quiet"]),
        "Content-Type": "application/logplex-1",
    }
    requests: tuple[tuple[str, str, str, bytes | None, dict[str, str]], ...] = (
        ("api_v3", "GET", "/v3/channels/quiet", None, {"Authorization": _basic(_CREDENTIAL)}),
        ("logs", "POST", "/logs", body, logs),
    )
    for _ in sys.stdin:
        times = []
        for number in range(REQUESTS):
            port, method, path, content, headers = requests[number % len(requests)]
            connection = http.client.HTTPConnection("127.0.0.1", target[port], 20)
            began_s = time.monotonic()
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            answer.read()
            times.append(time.monotonic() - began_s)
            connection.close()
            if answer.status not in (200, 204):
                print(f"status {answer.status}", flush=True)
                return
            time.sleep(_PAUSE_S)
        print(f"p99 {sorted(times)[int(REQUESTS * 0.99) - 1]:.6f}", flush=True)


#: The ways to misuse a node, by name.
MISUSES: dict[str, Callable[[Target], None]] = {
    each.__name__: each
    for each in (
        unread_tails,
        dripping_bodies,
        unfinished_bodies,
        compressed_bodies,
        silent_connections,
        one_byte_frames,
        many_names,
        guesses,
    )
}

#: Connections that stay open.
_kept: list[socket.socket] = []


def main() -> None:
    """Run the client that the command line names."""
    name, target = sys.argv[1], json.loads(sys.argv[2])
    if name == "neighbour":
        neighbour(target)
        return
    os.nice(10)
    threading.Thread(target=MISUSES[name], args=(target,)).start()
    time.sleep(1)
    print("misusing", flush=True)
    threading.Event().wait(60)
    os._exit(0)


if __name__ == "__main__":
    main()
