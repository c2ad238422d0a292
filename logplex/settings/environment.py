# SPDX-License-Identifier: Apache-2.0

"""
The environment variables of the Erlang Logplex. Each variable sets one option of the settings.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from attrs import frozen

_BEFORE_URL = re.compile(r",(?=\s*(?:[a-z][a-z0-9+.-]*://|,|$))")
_FLAGS = {"1": True, "true": True, "yes": True, "on": True}
_FLAGS |= {"0": False, "false": False, "no": False, "off": False}


def text(value: str) -> object:
    """Return the value unchanged."""
    return value


def flag(value: str) -> object:
    """Return the Boolean value of a text such as ``true``, ``yes`` or ``0``."""
    try:
        return _FLAGS[value.strip().lower()]
    except KeyError:
        raise ValueError(f'must be true or false, not "{value}"') from None


def tls_mode(value: str) -> object:
    """
    Return true for ``secure``, which means that certificates are verified. Return false for
    ``insecure``.
    """
    if value not in ("secure", "insecure"):
        raise ValueError(f'must be secure or insecure, not "{value}"')
    return value == "secure"


def whole_number(value: str) -> object:
    """Return the integer in a text of decimal digits."""
    try:
        return int(value)
    except ValueError:
        raise ValueError(f'must be a whole number, not "{value}"') from None


def comma_list(value: str) -> object:
    """Return the texts between the commas."""
    return [item for each in value.split(",") if (item := each.strip())]


def url_list(value: str) -> object:
    """
    Return the URLs between the commas. A comma inside the URL of a Redis with Sentinels does not
    separate URLs.
    """
    return [item for each in _BEFORE_URL.split(value) if (item := each.strip(" ,"))]


@frozen
class Variable:
    """
    An environment variable that sets an option of the settings.

    :ivar parse: a function that converts the text to the option's value. It raises
        :class:`ValueError`, with the reason, for a wrong text.
    """

    name: str
    section: str
    option: str
    parse: Callable[[str], object] = text


#: The variables of the ``logplex`` command, which often stand in the same environment.
COMMAND_VARIABLES = (
    "LOGPLEX_CA_FILE",
    "LOGPLEX_CREDENTIAL",
    "LOGPLEX_LOGS_URL",
    "LOGPLEX_STORE",
    "LOGPLEX_TOKEN",
    "LOGPLEX_URL",
)

#: An empty variable counts as not set.
VARIABLES = (
    Variable("API_STATUS", "rods", "api_status"),
    Variable("DENY_DRAIN_FORWARDING", "rods", "deny_drain_forwarding", flag),
    Variable("DENY_LOGS_INGRESS", "rods", "deny_logs_ingress", flag),
    Variable("DENY_REDIS_BUFFERS", "rods", "deny_redis_buffers", flag),
    Variable("DENY_TAIL_SESSIONS", "rods", "deny_tail_sessions", flag),
    Variable("DISABLE_FIREHOSE", "rods", "disable_firehose", flag),
    Variable("FIREHOSE_CHANNEL_IDS", "firehose", "channel_ids", comma_list),
    Variable("FIREHOSE_FILTER_TOKENS", "firehose", "filter_tokens", comma_list),
    Variable("HTTP_LOG_INPUT_MAX_CONNECTIONS", "limits", "logs_connections", whole_number),
    Variable("INSTANCE_NAME", "node", "name"),
    Variable("LEGACY_API_STATUS", "rods", "legacy_api_status"),
    Variable("LOG_API_USER", "auth", "log_api_user", flag),
    Variable("LOGPLEX_API_ENDPOINT_URL", "urls", "api"),
    Variable("LOGPLEX_AUTH_KEY", "auth", "key"),
    Variable("LOGPLEX_CONFIG_REDIS_URL", "store", "url"),
    Variable("LOGPLEX_HTTP_V3_URL", "urls", "api_v3"),
    Variable("LOGPLEX_SHARD_URLS", "store", "shards", url_list),
    Variable("LOGPLEX_TLS_CACERTFILE", "drains", "ca_file"),
    Variable("LOGPLEX_TLS_MODE", "drains", "verify_certificates", tls_mode),
    Variable("LOGPLEX_TLS_PINNED_CERTFILE", "drains", "pinned_file"),
    Variable("LOGPLEX_TLS_PINNED_CERTS", "drains", "pinned_certificates"),
    Variable("METRICS_CHANNEL_ID", "metrics", "channel_id"),
)
