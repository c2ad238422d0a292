# SPDX-License-Identifier: Apache-2.0

"""
The HTTP server of all listeners. The server bounds connections and bodies, and can refuse a request
before the body is read.

A :class:`Site` is ``twisted.web``'s, without an access log (paths are secrets: they name sessions),
without HTTP/2, tracebacks, form parsing, temporary files or a ``Server`` header.
"""

from __future__ import annotations

from logplex.web.connection import (
    HALF_CLOSED_S,
    MAX_DISCARDED_BYTES,
    SERVER_ERROR,
    TOO_LARGE,
    Refusal,
    Request,
    plain_refusal,
)
from logplex.web.connection_bound import ConnectionBound, address_of
from logplex.web.site import Admit, Bounds, Site, api_bounds

__all__ = [
    "HALF_CLOSED_S",
    "MAX_DISCARDED_BYTES",
    "SERVER_ERROR",
    "TOO_LARGE",
    "Admit",
    "Bounds",
    "ConnectionBound",
    "Refusal",
    "Request",
    "Site",
    "address_of",
    "api_bounds",
    "plain_refusal",
]
