# SPDX-License-Identifier: Apache-2.0

"""
The resources that a process has used, read from ``/proc``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """User and system time so far, of all its threads."""
    # The second field is the command's name in parentheses, and may hold anything.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = int(fields[11]), int(fields[12])
    return (user + system) / _TICKS_PER_S


def rss_mb(pid: int) -> float:
    """Resident memory now, in millions of bytes."""
    return _status_mb(pid, "VmRSS")


def peak_rss_mb(pid: int) -> float:
    """The most resident memory it ever had, in millions of bytes."""
    return _status_mb(pid, "VmHWM")


def _status_mb(pid: int, name: str) -> float:
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    if not found:
        raise ValueError(f"no {name} of process {pid}")
    return int(found[1]) * 1_024 / 1e6
