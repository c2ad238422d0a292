# SPDX-License-Identifier: Apache-2.0

"""
Destinations: the rules for drain URLs, in one place for both APIs and the drains.

A URL that can never work is refused with a reason (PROTOCOL §8 and §9). Neither the reason nor the
public form of a URL shows its user info, path or query.
"""

from __future__ import annotations

import re
import string
import sys
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import quote, unquote_to_bytes

import idna
from attrs import field, frozen

from logplex.hosts import host_and_port

#: A longer URL is refused.
MAX_URL_CHARACTERS = 4_096

HTTP_PORT = 80
HTTPS_PORT = 443
SYSLOG_PORT = 601
SYSLOG_TLS_PORT = 6514
SYSLOG_UDP_PORT = 514

#: The fragment that turns the verification of certificates and names off.
INSECURE = "insecure"

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#\\]*)([/?][^#]*)?(?:#(.*))?")
_HOST_AND_PORT = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]*))?")
_MAX_NAME_CHARACTERS = 253
_PLAIN_LABEL = re.compile(r"(?!xn--)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_ESCAPED = re.compile(rb"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset(each.encode() for each in f"{string.ascii_letters}{string.digits}-._~")
_ASCII = "".join(map(chr, range(0x21, 0x7F)))


class BadDestination(ValueError):
    """
    No drain can have this URL.

    :ivar reason: the reason in a few words, without anything secret.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


#: A receiver as :attr:`Destination.receiver` gives it: scheme, host, port, target, user.
Receiver = tuple[str, str, int, bytes, bytes | None]


@frozen
class Destination:
    """
    The parts of a drain's URL that every kind of drain needs.

    :ivar scheme: the scheme in lower case. An alias is not replaced by the usual scheme.
    :ivar host: a host name in ASCII, or an address (IPv6 without brackets).
    :ivar public: ``scheme://host:port``, for people who may not see the whole URL.
    :ivar with_port: the whole given URL, with its port.
    """

    scheme: str
    host: str
    port: int
    public: str
    with_port: str = field(repr=False)

    @property
    def receiver(self) -> Receiver:
        """
        A value that is equal for all URLs of one receiver. The URLs may differ in the case of
        letters, an alias of the scheme, the default port, dots in the path, or the verification of
        certificates.
        """
        return _SAME_SCHEMES.get(self.scheme, self.scheme), self.host, self.port, b"", None


@frozen
class HttpDestination(Destination):
    """
    A drain's URL with ``http://`` or ``https://``.

    :ivar verify: true to verify the receiver's certificate and host name.
    :ivar authority: the value of the ``Host`` header.
    :ivar target: the path and the query.
    :ivar basic_auth: ``user:password``, percent-decoded.
    """

    tls: bool
    verify: bool
    authority: bytes
    target: bytes = field(repr=False)
    basic_auth: bytes | None = field(repr=False)

    @property
    def receiver(self) -> Receiver:
        """
        A value that is equal for all URLs of one receiver. URLs with different users have different
        receivers.
        """
        return self.scheme, self.host, self.port, _same_target(self.target), self.basic_auth


@frozen
class SyslogDestination(Destination):
    """
    A drain's URL for syslog over TCP (``syslog://`` or an alias), or over TLS (``syslog+tls://``).
    """

    tls: bool
    verify: bool


@frozen
class UdpDestination(Destination):
    """A drain's URL for syslog over UDP: ``syslog+udp://`` or ``udpsyslog://``."""


_DEFAULT_PORTS = {
    "http": HTTP_PORT,
    "https": HTTPS_PORT,
    "syslog": SYSLOG_PORT,
    "tcpsyslog": SYSLOG_PORT,
    "syslog+tcp": SYSLOG_PORT,
    "syslog+tls": SYSLOG_TLS_PORT,
    "syslog+udp": SYSLOG_UDP_PORT,
    "udpsyslog": SYSLOG_UDP_PORT,
}
#: Aliases, and the scheme that they mean.
_SAME_SCHEMES = {"tcpsyslog": "syslog", "syslog+tcp": "syslog", "udpsyslog": "syslog+udp"}
_UDP_SCHEMES = frozenset({"syslog+udp", "udpsyslog"})
_TLS_SCHEMES = frozenset({"https", "syslog+tls"})


def parse_destination(url: str) -> Destination:
    """
    Parse and check a drain's URL.

    :raises BadDestination: the text is not the URL of a drain.
    """
    if len(url) > MAX_URL_CHARACTERS:
        raise BadDestination(f"the URL is longer than {MAX_URL_CHARACTERS} characters")
    if " " in url or not url.isprintable():
        raise BadDestination("the URL contains spaces or control characters")
    parts = _URL.fullmatch(url)
    if parts is None:
        raise BadDestination("the URL must have the form scheme://host:port")
    scheme = parts[1].lower()
    authority, resource, fragment = parts[2], parts[3] or "", parts[4]
    if scheme not in _DEFAULT_PORTS:
        raise BadDestination(f"the scheme must be one of {', '.join(sorted(_DEFAULT_PORTS))}")
    user_info, at, address = authority.rpartition("@")
    given_host, port = _split_port(address, _DEFAULT_PORTS[scheme])
    host = _host(given_host)
    address = host_and_port(host, port)
    public = f"{scheme}://{address}"
    end = resource if fragment is None else f"{resource}#{fragment}"
    with_port = f"{parts[1]}://{user_info}{at}{given_host}:{port}{end}"
    if scheme in _UDP_SCHEMES:
        return UdpDestination(scheme, host, port, public, with_port)
    tls = scheme in _TLS_SCHEMES
    verify = fragment != INSECURE
    if scheme not in {"http", "https"}:
        return SyslogDestination(scheme, host, port, public, with_port, tls, verify)
    return HttpDestination(
        scheme,
        host,
        port,
        public,
        with_port,
        tls,
        verify,
        authority=address.removesuffix(f":{_DEFAULT_PORTS[scheme]}").encode("ascii"),
        target=_request_target(resource),
        basic_auth=_basic_auth(user_info) if user_info else None,
    )


def _split_port(address: str, default_port: int) -> tuple[str, int]:
    parts = _HOST_AND_PORT.fullmatch(address)
    if parts is None:
        raise BadDestination("the port must be a number, and an IPv6 address stand in brackets")
    port = int(parts[2]) if parts[2] else default_port
    if not 1 <= port <= 65_535:
        raise BadDestination("the port must be between 1 and 65535")
    return parts[1], port


def _host(given: str) -> str:
    if given in ("", "[]"):
        raise BadDestination("the URL has no host")
    if given[0] == "[":
        return _ipv6(given[1:-1])
    name = _name(given.removesuffix("."))
    if _NUMERIC_LABEL.fullmatch(name.rpartition(".")[2]):
        # Resolvers read such names as addresses, in ways of their own (0x7f.1, 2130706433).
        try:
            return str(IPv4Address(name))
        except AddressValueError:
            raise BadDestination("the host is not an IPv4 address") from None
    return name


def _name(given: str) -> str:
    """
    Return a host name in ASCII and lower case.

    The rules for international names forbid names like ``my_app`` and ``a1--b``, but networks use
    such names. So the rules apply only to names that are not plain ASCII.
    """
    labels = given.lower().split(".")
    if len(given) <= _MAX_NAME_CHARACTERS and all(map(_PLAIN_LABEL.fullmatch, labels)):
        return given.lower()
    try:
        name = idna.encode(given, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        raise BadDestination("the host is not a valid host name") from None
    if name.endswith("."):
        raise BadDestination("the host is not a valid host name")
    return name


def _ipv6(given: str) -> str:
    if "%" in given:
        raise BadDestination("an IPv6 address with a zone means something on one machine only")
    try:
        return str(IPv6Address(given))
    except AddressValueError:
        raise BadDestination("the host is not an IPv6 address") from None


def _request_target(resource: str) -> bytes:
    """
    Return the path and the query of a URL. Percent-encode the characters that an HTTP request line
    may not contain.
    """
    encoded = quote(resource, safe=_ASCII).encode("ascii")
    return encoded if encoded[:1] == b"/" else b"/" + encoded


def _same_target(target: bytes) -> bytes:
    """
    Return the path and the query of a URL in a normal form, which is the same for all equal URLs
    (RFC 3986 §6.2.2).
    """
    path, mark, query = target.partition(b"?")
    path, query = (_ESCAPED.sub(_same_escape, each) for each in (path, query))
    kept: list[bytes] = []
    *segments, last = path.split(b"/")[1:]
    for segment in segments:
        if segment == b"..":
            del kept[-1:]
        elif segment != b".":
            kept.append(segment)
    if last in (b".", b".."):
        del kept[len(kept) - (last == b"..") :]
        last = b""
    return b"".join(b"/" + each for each in (*kept, last)) + mark + query


def _same_escape(escape: re.Match[bytes]) -> bytes:
    octet = bytes([int(escape[1], 16)])
    return octet if octet in _UNRESERVED else b"%%%b" % escape[1].upper()


def _basic_auth(user_info: str) -> bytes:
    user, _, password = user_info.partition(":")
    name = unquote_to_bytes(user)
    if b":" in name:
        raise BadDestination("the user name contains a colon (RFC 7617)")
    return name + b":" + unquote_to_bytes(password)


def check_durable(destination: Destination) -> None:
    """
    Check that a drain to this destination can be durable.

    :raises BadDestination: the destination uses UDP, so the receiver cannot confirm messages.
    """
    if isinstance(destination, UdpDestination):
        raise BadDestination("drains over UDP cannot be durable")
    if isinstance(destination, SyslogDestination) and sys.platform != "linux":
        # Elsewhere the kernel does not tell what its peer has acknowledged.
        raise BadDestination("drains over syslog can be durable on Linux only")
