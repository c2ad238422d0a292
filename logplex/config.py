"""
The settings of a node: one frozen class per section of the configuration file.

A field's name is the option's name, and tells the unit (``_s`` seconds, ``_bytes``,
``_messages``); its default is the option's default. ``etc/logplex.toml`` explains each.
"""

from __future__ import annotations

import socket

from attrs import Factory, field, frozen


@frozen
class Node:
    """``[node]``"""

    name: str = Factory(socket.gethostname)


@frozen
class Listen:
    """``[listen]``: Twisted endpoint strings, one or several; none switches a listener off."""

    syslog: tuple[str, ...] = ("tcp:6001:interface=127.0.0.1",)
    syslog_tls: tuple[str, ...] = ()
    logs: tuple[str, ...] = ("tcp:8601:interface=127.0.0.1",)
    api: tuple[str, ...] = ("tcp:8001:interface=127.0.0.1",)
    api_v3: tuple[str, ...] = ("tcp:8002:interface=127.0.0.1",)
    metrics: tuple[str, ...] = ("tcp:8003:interface=127.0.0.1",)


@frozen
class Urls:
    """``[urls]``: how clients reach the APIs from outside."""

    api: str = "http://localhost:8001"
    api_v3: str = "http://localhost:8002"


@frozen
class Tls:
    """``[tls]``: the certificate of the ``syslog_tls`` listener."""

    certificate_file: str = ""
    key_file: str = ""
    client_ca_file: str = ""


@frozen
class Store:
    """``[store]``"""

    url: str = "sqlite:var/logplex.db"


@frozen
class Auth:
    """``[auth]``"""

    key: str = field(default="", repr=False)


@frozen
class FileCredential:
    """``[[credentials]]``: a credential that is kept in the file."""

    id: str
    password: str = field(repr=False)
    permissions: tuple[str, ...] = ()


@frozen
class Limits:
    """``[limits]``: bounds of the inputs, the APIs and the tails."""

    syslog_connections: int = 10_000
    syslog_idle_timeout_s: float = 14_400.0
    logs_connections: int = 10_000
    logs_idle_timeout_s: float = 120.0
    logs_body_bytes: int = 8_000_000
    logs_decompressed_bytes: int = 32_000_000
    logs_frame_ids: int = 200_000
    logs_frame_id_lifetime_s: float = 300.0
    api_connections: int = 10_000
    api_idle_timeout_s: float = 120.0
    api_body_bytes: int = 1_000_000
    drains_per_channel: int = 6
    session_lifetime_s: float = 360.0
    tail_buffer_messages: int = 1_024
    tail_buffer_bytes: int = 1_048_576
    tail_keepalive_s: float = 15.0
    unknown_token_log_interval_s: float = 60.0
    notice_interval_s: float = 60.0
    shutdown_flush_s: float = 5.0


@frozen
class Drains:
    """``[drains]``: times and sizes of the drains."""

    buffer_messages: int = 1_024
    shrunk_buffer_messages: int = 10
    connect_timeout_s: float = 3.0
    max_age_s: float = 18_000.0
    flush_s: float = 5.0
    linger_s: float = 0.05
    http_batch_bytes: int = 102_400
    http_batch_messages: int = 400
    http_answer_timeout_s: float = 5.0
    http_answer_bytes: int = 65_536
    http_tries: int = 3
    http_retry_delays_s: tuple[float, ...] = (0.25, 1.0)
    http_retry_after_max_s: float = 60.0
    http_idle_timeout_s: float = 144.0
    http_shrink_after_s: float = 300.0
    idle_jitter_s: float = 15.0
    ca_file: str = ""


@frozen
class Spool:
    """``[spool]``: what is kept of every channel, and of all together."""

    messages: int = 1_500
    retention_s: float = 604_800.0
    max_bytes: int = 268_435_456


@frozen
class Rods:
    """``[rods]``: the operator's switches, as they stand when the node starts."""

    deny_redis_buffers: bool = False
    deny_tail_sessions: bool = False
    deny_drain_forwarding: bool = False
    deny_logs_ingress: bool = False
    api_status: str = "normal"
    legacy_api_status: str = "normal"


@frozen
class Settings:
    """Everything in the configuration file."""

    node: Node = Factory(Node)
    listen: Listen = Factory(Listen)
    urls: Urls = Factory(Urls)
    tls: Tls = Factory(Tls)
    store: Store = Factory(Store)
    auth: Auth = Factory(Auth)
    credentials: tuple[FileCredential, ...] = ()
    limits: Limits = Factory(Limits)
    drains: Drains = Factory(Drains)
    spool: Spool = Factory(Spool)
    rods: Rods = Factory(Rods)
