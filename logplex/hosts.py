"""Hosts and ports as text."""

from __future__ import annotations


def host_and_port(host: str, port: object) -> str:
    """
    Return ``host:port``; an IPv6 address gets brackets (RFC 3986 §3.2.2).

    :param host: a host name or an address, without brackets.
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
