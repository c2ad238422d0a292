# SPDX-License-Identifier: Apache-2.0

"""
The settings of a node: one class for each section of the settings file.

A field of a class is an option of the section. The field has the option's name, default and bounds.
The name ends in the unit (``_s`` seconds, ``_bytes``, ``_messages``). ``etc/logplex.toml`` explains
every option. To add an option, add a field; the loader needs no change.
"""

from __future__ import annotations

import socket

from attrs import Attribute, Factory, asdict, field, frozen

from logplex.model.rods import Rods
from logplex.settings.bounds import (
    OptionError,
    base_url,
    check_permissions,
    check_user_id,
    check_word,
    checked,
    each_not_negative,
    listeners,
    networks,
    not_negative,
    one_of,
    origins,
    positive,
    redis_urls,
    secret,
    store_url,
    word,
)


@frozen
class NodeSettings:
    """
    The section ``[node]``: the name of the node, and the time that a stopping node gives to load
    balancers.
    """

    name: str = word(Factory(socket.gethostname))
    drain_s: float = not_negative(0.0)


@frozen
class Listen:
    """
    The section ``[listen]``: the Twisted endpoint strings of each listener. A listener may have no
    endpoint.
    """

    syslog: tuple[str, ...] = listeners("tcp:6001:interface=127.0.0.1")
    syslog_tls: tuple[str, ...] = listeners()
    logs: tuple[str, ...] = listeners("tcp:8601:interface=127.0.0.1")
    api: tuple[str, ...] = listeners("tcp:8001:interface=127.0.0.1")
    api_v3: tuple[str, ...] = listeners("tcp:8002:interface=127.0.0.1")
    metrics: tuple[str, ...] = listeners("tcp:8003:interface=127.0.0.1")

    def by_name(self) -> dict[str, tuple[str, ...]]:
        """Return the endpoint strings of each listener, in the order of the options."""
        return asdict(self)


@frozen
class Urls:
    """The section ``[urls]``: the URLs of the APIs that clients use."""

    api: str = base_url("http://localhost:8001")
    api_v3: str = base_url("http://localhost:8002")
    cors_origins: tuple[str, ...] = origins()


@frozen
class Tls:
    """The section ``[tls]``: the certificate of the listener ``syslog_tls``."""

    certificate_file: str = ""
    key_file: str = ""
    client_ca_file: str = ""


@frozen
class Store:
    """
    The section ``[store]``: the store of the configuration, and the Redis servers of the spool.
    """

    url: str = store_url("sqlite:var/logplex.db")
    shards: tuple[str, ...] = redis_urls()
    ca_file: str = ""


@frozen
class Auth:
    """
    The section ``[auth]``: the auth key, the logging of users, and the form in which passwords are
    stored.
    """

    key: str = secret()
    log_api_user: bool = False
    plain_passwords: bool = False


@frozen
class FileCredential:
    """
    The section ``[[credentials]]``: a credential that is defined in the settings file.

    :ivar permissions: ``full_api``, ``any_channel``, ``channel:ID``, or a combination.
    """

    id: str = field(validator=checked(check_user_id))
    password: str = field(repr=False, validator=checked(check_word))
    permissions: tuple[str, ...] = field(default=(), validator=checked(check_permissions))


@frozen
class Limits:
    """
    The section ``[limits]``: bounds of the inputs, the APIs and the tails.

    All parts of a node share the limits in a :class:`~logplex.live.Live` value. The signal SIGHUP
    replaces the limits.
    """

    syslog_connections: int = positive(10_000)
    syslog_idle_timeout_s: float = positive(14_400.0)
    syslog_handshake_timeout_s: float = positive(10.0)
    syslog_unknown_messages: int = positive(100_000)
    syslog_join_lines: bool = False
    logs_connections: int = positive(10_000)
    logs_idle_timeout_s: float = positive(120.0)
    logs_body_bytes: int = positive(8_000_000)
    logs_decompressed_bytes: int = positive(32_000_000)
    logs_body_messages: int = positive(200_000)
    logs_body_bytes_per_s: float = not_negative(1_000.0)
    logs_waiting_bytes: int = positive(268_435_456)
    logs_frame_ids: int = not_negative(200_000)
    logs_frame_id_lifetime_s: float = not_negative(300.0)
    api_connections: int = positive(10_000)
    api_idle_timeout_s: float = positive(120.0)
    api_body_bytes: int = positive(1_000_000)
    tokens_per_channel: int = positive(1_000)
    drains_per_channel: int = not_negative(6)
    sessions_per_channel: int = not_negative(1_000)
    tails_per_channel: int = not_negative(1_000)
    session_lifetime_s: float = positive(360.0)
    auth_failures: int = not_negative(10)
    auth_address_failures: int = not_negative(100)
    auth_failure_delay_s: float = not_negative(1.0)
    tail_buffer_messages: int = positive(1_024)
    tail_buffer_bytes: int = positive(1_048_576)
    tail_history_bytes: int = positive(268_435_456)
    tail_reader_bytes: int = positive(16_777_216)
    tail_keepalive_s: float = positive(15.0)
    unknown_token_log_interval_s: float = not_negative(60.0)
    notice_interval_s: float = not_negative(60.0)
    log_waiting_bytes: int = not_negative(1_048_576)
    reserved_descriptors: int = not_negative(1_000)


@frozen
class DrainSettings:
    """The section ``[drains]``: times and sizes for the drains."""

    buffer_messages: int = positive(1_024)
    shared_buffer_bytes: int = not_negative(268_435_456)
    connect_timeout_s: float = positive(3.0)
    connects_per_s: float = positive(600.0)
    channel_lookups: int = positive(2)
    max_age_s: float = positive(18_000.0)
    flush_s: float = not_negative(5.0)
    linger_s: float = not_negative(0.05)
    linger_max_s: float = not_negative(0.2)
    http_batch_bytes: int = positive(102_400)
    http_batch_messages: int = positive(400)
    http_answer_timeout_s: float = positive(5.0)
    http_answer_bytes: int = not_negative(65_536)
    http_batch_max_age_s: float = positive(900.0)
    http_tries: int = not_negative(0)
    http_retry_delays_s: tuple[float, ...] = each_not_negative((0.25, 1.0, 4.0, 16.0, 60.0))
    http_retry_after_max_s: float = not_negative(60.0)
    http_idle_timeout_s: float = positive(144.0)
    syslog_piece_bytes: int = positive(4_096)
    syslog_stall_timeout_s: float = positive(4.0)
    syslog_idle_timeout_s: float = positive(240.0)
    syslog_backoff_max_s: float = positive(300.0)
    idle_jitter_s: float = not_negative(15.0)
    ca_file: str = ""
    pinned_file: str = ""
    pinned_certificates: str = ""
    verify_certificates: bool = True
    deny_networks: tuple[str, ...] = networks(
        "169.254.0.0/16",
        "fe80::/10",
        "100.100.100.200/32",
        "168.63.129.16/32",
        "192.0.0.192/32",
        "fd00:ec2::254/128",
    )


@frozen
class Spool:
    """
    The section ``[spool]``: bounds on the recent messages of each channel and of all channels.
    """

    messages: int = positive(1_500)
    retention_s: float = positive(604_800.0)
    max_bytes: int = positive(268_435_456)
    tick_s: float = positive(0.05)
    tick_max_s: float = positive(0.2)
    followed_tick_s: float = positive(0.01)
    waiting_batches: int = positive(2_000)
    waiting_bytes: int = positive(67_108_864)


@frozen
class JournalSettings:
    """The section ``[journal]``: the storage of durable drains' messages on this node's disk."""

    file: str = "journal.db"
    tick_s: float = positive(0.05)
    max_bytes: int = positive(4_294_967_296)
    keep_free_bytes: int = not_negative(268_435_456)
    max_age_s: float = positive(604_800.0)


@frozen
class FirehoseSettings:
    """The section ``[firehose]``: channels that get random copies of other channels' messages."""

    channel_ids: tuple[str, ...] = ()
    filter_tokens: tuple[str, ...] = ()


@frozen
class Metrics:
    """The section ``[metrics]``: a channel that gets the node's counts as messages."""

    channel_id: str = ""


@frozen
class Log:
    """The section ``[log]``: the level of detail of the node's own log."""

    level: str = one_of(("debug", "info", "warn", "error", "critical"), "info")


@frozen
class Settings:
    """All sections of the settings file."""

    node: NodeSettings = Factory(NodeSettings)
    listen: Listen = Factory(Listen)
    urls: Urls = Factory(Urls)
    tls: Tls = Factory(Tls)
    store: Store = Factory(Store)
    auth: Auth = Factory(Auth)
    credentials: tuple[FileCredential, ...] = field(default=())
    limits: Limits = Factory(Limits)
    drains: DrainSettings = Factory(DrainSettings)
    spool: Spool = Factory(Spool)
    journal: JournalSettings = Factory(JournalSettings)
    firehose: FirehoseSettings = Factory(FirehoseSettings)
    metrics: Metrics = Factory(Metrics)
    log: Log = Factory(Log)
    rods: Rods = Factory(Rods)

    def __attrs_post_init__(self) -> None:
        """Check the rules that concern options of different sections."""
        if self.listen.syslog_tls and not self.tls.certificate_file:
            raise OptionError("is needed by [listen] syslog_tls", "tls", "certificate_file")

    @credentials.validator
    def _check_credentials(
        self, _: Attribute[tuple[FileCredential, ...]], credentials: tuple[FileCredential, ...]
    ) -> None:
        seen = set()
        for credential in credentials:
            if credential.id in seen:
                raise OptionError(f'"{credential.id}" is given twice', "credentials")
            seen.add(credential.id)
