"""
Control rods: the operator's switches on a running node.
"""

from __future__ import annotations

from attrs import define

NORMAL = "normal"
READ_ONLY = "read_only"
DISABLED = "disabled"
STATUSES = (NORMAL, READ_ONLY, DISABLED)


@define
class Rods:
    """How the switches stand now. Whoever is governed by one reads it each time."""

    deny_redis_buffers: bool = False
    deny_tail_sessions: bool = False
    deny_drain_forwarding: bool = False
    deny_logs_ingress: bool = False
    disable_firehose: bool = False
    api_status: str = NORMAL
    legacy_api_status: str = NORMAL
