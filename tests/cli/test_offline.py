# SPDX-License-Identifier: Apache-2.0

"""Stores without a node, opened and closed."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from logplex.cli.failures import BadSettings, NotFound, Rejected, Unreachable
from logplex.cli.offline import OPEN_TIMEOUT_S, opened
from tests.doubles.interfaces import as_reactor
from tests.doubles.sqlite import NoThreads


class OpenTests(SynchronousTestCase):
    """Stores that cannot be opened."""

    def opening(
        self, place: str, reactor: object = None, must_exist: bool = False
    ) -> Deferred[None]:
        async def open_and_close() -> None:
            async with opened(place, as_reactor(reactor), must_exist):
                pass

        return Deferred.fromCoroutine(open_and_close())

    def test_redis_is_away(self) -> None:
        """The command waits for a shorter time than a node."""
        reactor = MemoryReactorClock()
        opening = self.opening("redis://:hidden@host", reactor)
        self.assertNoResult(opening)
        reactor.advance(OPEN_TIMEOUT_S)
        failed = self.failureResultOf(opening, Unreachable).value
        self.assertNotIn("hidden", failed.message)

    def test_no_url(self) -> None:
        for url in ("redis://:hidden@host/x", "redis://", "sqlite:"):
            failed = self.failureResultOf(self.opening(url), BadSettings).value
            self.assertNotIn("hidden", failed.message)

    def test_other_url(self) -> None:
        """A mistaken URL, or memory:, does not create a file."""
        for url in ("reddis://:hidden@host", "REDIS://:hidden@host", "memory:"):
            failed = self.failureResultOf(self.opening(url), BadSettings).value
            self.assertNotIn("hidden", failed.message)

    def test_no_file(self) -> None:
        """A command that only reads does not create a file."""
        path = Path(self.mktemp())
        self.failureResultOf(self.opening(str(path), must_exist=True), NotFound)
        self.assertFalse(path.exists())

    def test_no_database(self) -> None:
        path = Path(self.mktemp())
        path.write_text("This is no database, and it is long enough to be seen as none. " * 10)
        failed = self.failureResultOf(self.opening(str(path), NoThreads()), Rejected).value
        self.assertIn("is not an SQLite database", failed.message)
