# SPDX-License-Identifier: Apache-2.0

"""
The settings of a node, read from a file and the environment.
"""

from __future__ import annotations

from logplex.settings.loading import SettingsError, load_settings, unknown_variables
from logplex.settings.sections import (
    Auth,
    DrainSettings,
    FileCredential,
    FirehoseSettings,
    JournalSettings,
    Limits,
    Listen,
    Log,
    Metrics,
    NodeSettings,
    Settings,
    Spool,
    Store,
    Tls,
    Urls,
)

__all__ = [
    "Auth",
    "DrainSettings",
    "FileCredential",
    "FirehoseSettings",
    "JournalSettings",
    "Limits",
    "Listen",
    "Log",
    "Metrics",
    "NodeSettings",
    "Settings",
    "SettingsError",
    "Spool",
    "Store",
    "Tls",
    "Urls",
    "load_settings",
    "unknown_variables",
]
