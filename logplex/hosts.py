# SPDX-License-Identifier: Apache-2.0

"""Hosts and ports as text."""

from __future__ import annotations

from urllib.parse import urlsplit


def host_and_port(host: str, port: object) -> str:
    """
    Return the text ``host:port``. An IPv6 address gets brackets (RFC 3986 §3.2.2).

    :param host: a host name or an address, without brackets.
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split_hosts(text: str, default_port: int) -> list[tuple[str, int]]:
    """
    Return the hosts and ports in a text ``host[:port],host[:port]``. An IPv6 address is in
    brackets.

    :raise ValueError: a host is missing, or a port is not a number from 1 to 65535.
    """
    found = []
    for each in text.split(","):
        parts = urlsplit(f"//{each}")
        port = default_port if parts.port is None else parts.port
        if not parts.hostname or not port or "@" in each:
            raise ValueError(f"no host and port: {each!r}")
        found.append((parts.hostname, port))
    return found
