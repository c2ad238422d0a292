# SPDX-License-Identifier: Apache-2.0

"""
Senders of numbered messages, and what came of their numbers.
"""

from __future__ import annotations

import base64
import gzip
import http.client
import re
from collections.abc import Iterable, Iterator, Mapping
from shutil import which

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from tests.integration.process import PATIENCE_S, Child, reactor, within

_NUMBER = re.compile(rb"number=(\d+)")


def numbered(token: str, numbers: Iterable[int]) -> list[bytes]:
    """Messages of this token with these numbers in their text."""
    form = "<134>1 2026-01-02T03:04:05.000006+00:00 a-host {} web.1 - - number={} of some"
    return [form.format(token, number).encode() for number in numbers]


def numbers_in(messages: Iterable[bytes]) -> list[int]:
    """The numbers of messages that have one, in their order."""
    return [int(found[1]) for found in map(_NUMBER.search, messages) if found]


def octet_counted(messages: Iterable[bytes]) -> bytes:
    """Return messages with octet counting (RFC 6587 §3.4.1)."""
    return b"".join(b"%d %b" % (len(message), message) for message in messages)


def line_framed(messages: Iterable[bytes]) -> bytes:
    """Return messages with LF framing (RFC 6587 §3.4.2)."""
    return b"".join(message + b"\n" for message in messages)


class _Sending(Protocol):
    def __init__(self) -> None:
        self.closed: Deferred[None] = Deferred()

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.closed.callback(None)


async def send(port: int, *pieces: bytes) -> None:
    """Write these pieces to a TCP port and close; returns when the peer has read everything."""
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
    sending = await connectProtocol(endpoint, _Sending())
    for piece in pieces:
        sending.transport.write(piece)
    sending.transport.loseWriteConnection()
    await within(sending.closed, "the node has read everything and closes")


async def logger(port: int, token: str, *arguments: str) -> None:
    """Run util-linux ``logger`` against a port."""
    command = [str(which("logger")), "--tcp", "--server", "127.0.0.1", "--port", str(port)]
    child = Child.spawn([*command, "--tag", token, *arguments])
    ended = await within(child.ended(), "logger ends")
    if ended.status:
        raise ended


async def post(
    port: int,
    body: Iterable[bytes],
    user: tuple[str, str],
    headers: Mapping[str, str],
) -> int:
    """
    POST a body in chunks, with a client that knows nothing of Twisted.

    :return: the status of the answer.
    """
    credentials = base64.b64encode(":".join(user).encode()).decode()
    fields = {"Authorization": f"Basic {credentials}", "Content-Type": "application/logplex-1"}

    def request() -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        try:
            connection.request("POST", "/logs", iter(body), {**fields, **headers})
            return connection.getresponse().status
        finally:
            connection.close()

    return await deferToThread(request)


def gzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """A body compressed as it goes, in as many pieces as it comes in."""
    whole = gzip.compress(b"".join(pieces))
    size = 700
    return (whole[start : start + size] for start in range(0, len(whole), size))
