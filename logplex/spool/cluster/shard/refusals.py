"""
What a shard refuses, and which of it means that the shard is as good as away.
"""

from __future__ import annotations

import re
from typing import Any

import txredisapi
from twisted.internet.defer import fail
from twisted.python.failure import Failure

from logplex.interfaces import StoreAway

#: What a script raises in Redis 6 where the shard may not write now, which 7 puts in front; and,
#: in the words of several versions, where we lack a right.
_CANNOT_WRITE = re.compile(
    r"-(?:OOM|READONLY|MISCONF|NOREPLICAS)\b"
    r"|^NOPERM\b|user executing the script can't|ACL failure in script"
)


def reading_refused(failure: Failure) -> Any:
    """Errback: a shard that does not let itself be read is as good as away."""
    failure.trap(txredisapi.ResponseError, StoreAway)
    return fail(StoreAway(failure.getErrorMessage()))


def writing_refused(failure: Failure) -> Any:
    """Errback: so is one that may not write now, or does not let us."""
    if failure.check(txredisapi.ResponseError) and _CANNOT_WRITE.search(failure.getErrorMessage()):
        return fail(StoreAway(failure.getErrorMessage()))
    return failure
