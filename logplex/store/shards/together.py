"""
Conversations with several shards at a time.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, gatherResults

T = TypeVar("T")


def together(conversations: Iterable[Coroutine[Deferred[Any], Any, T]]) -> Deferred[list[T]]:
    """Let them go on side by side; fires with what they give when the last is done."""
    return gatherResults(list(map(Deferred.fromCoroutine, conversations)), consumeErrors=True)
