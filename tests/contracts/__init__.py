# SPDX-License-Identifier: Apache-2.0

"""
The form of a contract suite: an implementation may answer at once or later.

A suite is a mixin. A synchronous test case gets it with :class:`AtOnce`; an asynchronous one with
:class:`Later`, and may keep its things on real servers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase


def conversation(
    test: Callable[..., Coroutine[Deferred[Any], Any, None]],
) -> Callable[..., Deferred[None] | None]:
    """A coroutine as a test method; the test case says whether it may take time."""

    @functools.wraps(test)
    def run(self: AtOnce | Later) -> Deferred[None] | None:
        return self.settle(Deferred.fromCoroutine(test(self)))

    return run


class AtOnce(SynchronousTestCase):
    """Every answer must arrive at once."""

    def settle(self, outcome: Deferred[None]) -> None:
        results: list[object] = []
        outcome.addBoth(results.append)
        if not results:
            self.fail("no answer came at once")
        if isinstance(results[0], Failure):
            results[0].raiseException()


class Later(TestCase):
    """Answers come when they come; trial waits for them."""

    timeout = 30

    def settle(self, outcome: Deferred[None]) -> Deferred[None]:
        return outcome
