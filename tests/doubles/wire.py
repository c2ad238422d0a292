# SPDX-License-Identifier: Apache-2.0

"""One HTTP connection in memory: bytes to a site, and what it answers."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel

from logplex.web import Site


@define
class Wire:
    """A client's end of a connection to the site."""

    site: Site
    transport: StringTransport = field(factory=StringTransport)
    channel: HTTPChannel = field(init=False)

    def __attrs_post_init__(self) -> None:
        channel = self.site.buildProtocol(None)
        assert channel is not None
        self.channel = channel
        self.channel.makeConnection(self.transport)

    def send(self, *pieces: bytes) -> bytes:
        """Send chunks, one by one, and return the bytes that were answered since the last call."""
        for piece in pieces:
            if not self.transport.disconnecting:
                self.channel.dataReceived(piece)
        return self.received()

    def received(self) -> bytes:
        answer: bytes = self.transport.value()
        self.transport.clear()
        return answer

    @property
    def closed(self) -> bool:
        """True if the site has closed the connection."""
        return self.transport.disconnecting

    @property
    def aborted(self) -> bool:
        """True if the site has closed the connection without waiting for what was written."""
        return self.transport.disconnected

    def close_side(self) -> None:
        """The client sends no more, but may still read."""
        self.channel.readConnectionLost()  # type: ignore[attr-defined]

    def close(self) -> None:
        """The connection is gone."""
        self.channel.connectionLost(Failure(ConnectionDone()))


def request(method: str, path: str, body: bytes | None = None, **headers: str) -> bytes:
    """
    A request's bytes.

    :param headers: names with underscores for hyphens; without a length it is the body's.
    """
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    if body is not None and not {"Content_Length", "Transfer_Encoding"} & headers.keys():
        lines.append(f"Content-Length: {len(body)}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


def chunks(*pieces: bytes) -> bytes:
    """A body in the chunked coding (RFC 9112 §7.1)."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))


def status(answer: bytes) -> int:
    """The status of an answer; 0 where there is none."""
    return int(answer.split(b" ", 2)[1]) if answer else 0


def body_of(answer: bytes) -> bytes:
    """Return what follows an answer's head."""
    return answer.partition(b"\r\n\r\n")[2]
