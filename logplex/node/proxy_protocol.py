# SPDX-License-Identifier: Apache-2.0

"""
The PROXY protocol, versions 1 and 2, by which a load balancer tells the address of a client.

Twisted's own implementation refuses ``PROXY UNKNOWN``, which HAProxy writes for clients on Unix
sockets and for its health checks, and headers that arrive in pieces.
"""

from __future__ import annotations

import re
import struct
from ipaddress import IPv4Address as Ip4
from ipaddress import IPv6Address as Ip6

from attrs import frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    ITransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface import directlyProvides, providedBy

_log = Logger()

#: The longest header of version 1, with its line end (the specification, §2.1).
MAX_V1_BYTES = 107
#: The longest header of version 2 that is taken: addresses, and some of the balancer's notes.
MAX_V2_BYTES = 4_096

#: A connection without a complete header is closed after this time.
HEADER_TIMEOUT_S = 5.0
#: The shortest time between two lines in the log.
LOG_INTERVAL_S = 60.0

_V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_V2_HEAD = struct.Struct("!12sBBH")
_V2_ADDRESSES = {
    0x11: (IPv4Address, Ip4, struct.Struct("!4s4sHH")),
    0x21: (IPv6Address, Ip6, struct.Struct("!16s16sHH")),
}
_V1 = re.compile(
    rb"PROXY (?:UNKNOWN(?: [^\r\n]*)?|TCP(?P<version>[46]) "
    rb"(?P<source>[0-9A-Fa-f:.]+) (?P<target>[0-9A-Fa-f:.]+) "
    rb"(?P<source_port>[0-9]{1,5}) (?P<target_port>[0-9]{1,5}))"
)


class BadHeader(ValueError):
    """A connection does not begin with a header of the PROXY protocol."""


@frozen
class Header:
    """
    The header of the PROXY protocol at the beginning of a connection.

    :ivar size_bytes: the length of the header in bytes.
    :ivar source: the address of the client; ``None`` if the load balancer does not tell the
        address, as in health checks.
    :ivar target: the address to which the client has connected.
    """

    size_bytes: int
    source: IAddress | None = None
    target: IAddress | None = None


def read_header(data: bytes) -> Header | None:
    """
    Return the PROXY header at the beginning of the data; ``None`` while the header is incomplete.

    :raise BadHeader: the data does not begin with a PROXY header.
    """
    if _V2_SIGNATURE.startswith(data[:12]) or data.startswith(_V2_SIGNATURE):
        return _read_v2(data)
    if b"PROXY ".startswith(data[:6]) or data.startswith(b"PROXY "):
        return _read_v1(data)
    raise BadHeader


def _read_v1(data: bytes) -> Header | None:
    end = data.find(b"\r\n", 0, MAX_V1_BYTES)
    if end < 0:
        if len(data) >= MAX_V1_BYTES:
            raise BadHeader
        return None
    found = _V1.fullmatch(data, 0, end)
    if found is None:
        raise BadHeader
    if found["version"] is None:
        return Header(end + 2)
    is_4 = found["version"] == b"4"
    try:
        source, target = (
            (IPv4Address if is_4 else IPv6Address)(
                "TCP",
                str((Ip4 if is_4 else Ip6)(found[name].decode())),
                int(found[f"{name}_port"]),
            )
            for name in ("source", "target")
        )
    except ValueError:
        raise BadHeader from None
    return Header(end + 2, source, target)


def _read_v2(data: bytes) -> Header | None:
    if len(data) < _V2_HEAD.size:
        return None
    _, command, family, length = _V2_HEAD.unpack_from(data)
    size = _V2_HEAD.size + length
    if command not in (0x20, 0x21) or size > MAX_V2_BYTES:
        raise BadHeader
    if len(data) < size:
        return None
    if command == 0x20 or family not in _V2_ADDRESSES:
        return Header(size)
    kind, parse, layout = _V2_ADDRESSES[family]
    if length < layout.size:
        raise BadHeader
    source, target, source_port, target_port = layout.unpack_from(data, _V2_HEAD.size)
    return Header(
        size,
        kind("TCP", str(parse(source)), source_port),
        kind("TCP", str(parse(target)), target_port),
    )


class _Proxied(ProtocolWrapper):
    """
    A connection of a load balancer. After the PROXY header, the connection starts another protocol,
    which sees the client's addresses.
    """

    _held = b""
    _header: Header | None = None

    def __init__(self, factory: ProxyFactory, wrapped: IProtocol) -> None:
        super().__init__(factory, wrapped)
        self._factory = factory
        self._timer: IDelayedCall | None = None

    def makeConnection(self, transport: ITransport) -> None:
        directlyProvides(self, providedBy(transport))
        Protocol.makeConnection(self, transport)
        self.factory.registerProtocol(self)
        self._timer = self._factory.clock.callLater(HEADER_TIMEOUT_S, self.loseConnection)

    def dataReceived(self, data: bytes) -> None:
        if self._header is not None:
            self.wrappedProtocol.dataReceived(data)
            return
        data = self._held + data
        try:
            self._header = read_header(data)
        except BadHeader:
            self._factory.complain(super().getPeer())
            self._stop_waiting()
            self.loseConnection()
            return
        if self._header is None:
            self._held = data
            return
        self._held = b""
        self._stop_waiting()
        self.wrappedProtocol.makeConnection(self)  # type: ignore[arg-type]
        if len(data) > self._header.size_bytes:
            self.wrappedProtocol.dataReceived(data[self._header.size_bytes :])

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stop_waiting()
        self.factory.unregisterProtocol(self)
        if self._header is not None:
            self.wrappedProtocol.connectionLost(reason)

    def _stop_waiting(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def getPeer(self) -> IAddress:
        source = self._header and self._header.source
        return source or super().getPeer()

    def getHost(self) -> IAddress:
        target = self._header and self._header.target
        return target or super().getHost()


class ProxyFactory(WrappingFactory[_Proxied]):
    """
    A factory that reads PROXY headers, and gives the clients' addresses to the protocols of another
    factory.
    """

    protocol = _Proxied
    noisy = False

    def __init__(self, wrapped: IProtocolFactory, clock: IReactorTime) -> None:
        super().__init__(wrapped)
        self.clock = clock
        self._complained_at: float | None = None

    def complain(self, peer: IAddress) -> None:
        """Log that a connection has no PROXY header, at most once in :data:`LOG_INTERVAL_S`."""
        now = self.clock.seconds()
        if self._complained_at is None or now - self._complained_at >= LOG_INTERVAL_S:
            self._complained_at = now
            host = getattr(peer, "host", "unknown")
            _log.warn("a connection from {peer} has no header of the PROXY protocol", peer=host)
