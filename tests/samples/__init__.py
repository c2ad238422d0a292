# SPDX-License-Identifier: Apache-2.0

"""Captures of what real senders write; ``README.md`` in this folder describes them."""

from __future__ import annotations

from pathlib import Path

_SAMPLES = Path(__file__).parent

LOGGER = (_SAMPLES / "logger.bin").read_bytes()
DOCKER = (_SAMPLES / "docker.bin").read_bytes()
RSYSLOG = (_SAMPLES / "rsyslog.bin").read_bytes()
SYSLOG_NG = (_SAMPLES / "syslog-ng.bin").read_bytes()
#: A request of log-shuttle up to its body (the capture ends there in the middle of a frame).
LOG_SHUTTLE_HEAD, _, LOG_SHUTTLE_BODY = (
    (_SAMPLES / "log-shuttle.txt").read_bytes().partition(b"\n\n")
)
