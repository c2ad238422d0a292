"""
How a node is set up: the settings, and how they are read from a file and the environment.
"""

from __future__ import annotations

from logplex.config.changes import Changed, changed_options
from logplex.config.loading import ConfigError, load_settings
from logplex.config.settings import (
    Auth,
    Drains,
    FileCredential,
    Firehose,
    Limits,
    Listen,
    Log,
    Metrics,
    Node,
    Settings,
    Spool,
    Store,
    Tls,
    Urls,
)

__all__ = [
    "Auth",
    "Changed",
    "ConfigError",
    "Drains",
    "FileCredential",
    "Firehose",
    "Limits",
    "Listen",
    "Log",
    "Metrics",
    "Node",
    "Settings",
    "Spool",
    "Store",
    "Tls",
    "Urls",
    "changed_options",
    "load_settings",
]
