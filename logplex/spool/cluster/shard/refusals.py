# SPDX-License-Identifier: Apache-2.0

"""
The refusals of a shard that mean that it counts as away.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import fail
from twisted.python.failure import Failure

from logplex.interfaces import StoreAway
from logplex.redis.connection import Refused

#: The codes of refusals by a shard that cannot be written to now, or not by this node.
_CANNOT_WRITE = frozenset({"OOM", "READONLY", "MISCONF", "NOREPLICAS", "NOPERM"})


def reading_refused(failure: Failure) -> Any:
    """Errback: a shard that refuses reading counts as away."""
    failure.trap(Refused, StoreAway)
    return fail(StoreAway(failure.getErrorMessage()))


def writing_refused(failure: Failure) -> Any:
    """Errback: a shard that cannot write now, or refuses writing, counts as away."""
    error = failure.value
    if isinstance(error, Refused) and error.code in _CANNOT_WRITE:
        return fail(StoreAway(failure.getErrorMessage()))
    return failure
