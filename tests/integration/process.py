# SPDX-License-Identifier: Apache-2.0

"""
Child processes whose lines can be waited for, and bounded waiting in general.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from attrs import frozen
from twisted.internet import reactor as _global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

#: The reactor under everything in this package: real processes and sockets have no other.
reactor = cast(Any, _global_reactor)

ROOT = Path(__file__).resolve().parents[2]

#: How long anything may take that should take well under a second, on a machine that is busy.
PATIENCE_S = 30.0

#: What a busy machine may add to what a node promises. Promises of a few seconds are kept exact by
#: tests on a clock of their own, and measured by ``bench``.
BUSY_S = 10.0

#: The pause between two looks at something that tells of no change by itself.
_POLL_S = 0.02

T = TypeVar("T")


class TooLate(Exception):
    """Something did not happen within its bound."""


async def within(waiting: Deferred[T], what: str, seconds: float = PATIENCE_S) -> T:
    """The result of a Deferred, or :exc:`TooLate`."""

    def late(result: T | Failure, _: float) -> T | Failure:
        if isinstance(result, Failure):
            raise TooLate(f"{what}: not within {seconds} s")
        return result

    return await waiting.addTimeout(seconds, reactor, onTimeoutCancel=late)


async def until(
    look: Callable[[], Awaitable[T | None]], what: str, seconds: float = PATIENCE_S
) -> T:
    """
    Call a function again and again until its result is true; return it, or raise :exc:`TooLate`.
    """
    end = time.monotonic() + seconds
    while True:
        seen = await look()
        if seen:
            return seen
        if time.monotonic() > end:
            raise TooLate(f"{what}: not within {seconds} s")
        await deferLater(reactor, _POLL_S)


@frozen
class Ended(Exception):
    """
    A process is over.

    :ivar status: its exit status, or minus the number of the signal that ended it.
    """

    status: int
    output: str

    def __str__(self) -> str:
        return f"status {self.status}:\n{self.output[-4_000:]}"


class Child(ProcessProtocol):
    """
    A process of ours.

    :ivar lines: what it has written so far to its standard output and error, in the order in
        which it came.
    """

    transport: IProcessTransport

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.pid = 0
        self._partial = {1: b"", 2: b""}
        self._watchers: list[tuple[re.Pattern[str], Deferred[re.Match[str]]]] = []
        self._ended: Ended | None = None
        self._end_watchers: list[Deferred[Ended]] = []

    @classmethod
    def spawn(
        cls,
        arguments: Sequence[str | Path],
        directory: Path | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Child:
        """Start it, with nothing of our environment but the path, the home and ``environ``."""
        child = cls()
        argv = [os.fsencode(argument) for argument in arguments]
        variables = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        variables |= {"PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8", **(environ or {})}
        process = reactor.spawnProcess(child, argv[0], argv, variables, path=directory)
        child.pid = process.pid
        return child

    def seen(self, pattern: str, after: int = 0) -> Deferred[re.Match[str]]:
        """
        Fires with the first line, written already or to come, that has the pattern; fails with
        :exc:`Ended`.

        :param after: how many of :attr:`lines` not to look at.
        """
        compiled = re.compile(pattern)
        waiting: Deferred[re.Match[str]] = Deferred()
        found = next(filter(None, map(compiled.search, self.lines[after:])), None)
        if found:
            waiting.callback(found)
        elif self._ended:
            waiting.errback(self._ended)
        else:
            self._watchers.append((compiled, waiting))
        return waiting

    def write(self, line: str) -> None:
        """Write a line to its standard input."""
        self.transport.write(line.encode() + b"\n")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; an ended process gets none."""
        if not self._ended:
            os.kill(self.pid, number)

    def ended(self) -> Deferred[Ended]:
        """Fires when it is over and everything it wrote has been read."""
        waiting: Deferred[Ended] = Deferred()
        if self._ended:
            waiting.callback(self._ended)
        else:
            self._end_watchers.append(waiting)
        return waiting

    async def end(self) -> None:
        """Leave nothing behind: kill it unless it is over."""
        self.signal(signal.SIGKILL)
        await self.ended()

    # What Twisted calls.

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        *lines, self._partial[childFD] = (self._partial[childFD] + data).split(b"\n")
        for line in lines:
            self._line(line.decode(errors="replace"))

    def processEnded(self, reason: Failure) -> None:
        for rest in filter(None, self._partial.values()):
            self._line(rest.decode(errors="replace"))
        end = cast(Any, reason.value)
        status = end.exitCode if end.exitCode is not None else -end.signal
        self._ended = Ended(status, "\n".join(self.lines))
        for waiting in self._end_watchers:
            waiting.callback(self._ended)
        for _, watching in self._watchers:
            watching.errback(self._ended)
        self._watchers.clear()

    def _line(self, line: str) -> None:
        self.lines.append(line)
        for watcher in self._watchers.copy():
            compiled, waiting = watcher
            found = compiled.search(line)
            if found:
                self._watchers.remove(watcher)
                waiting.callback(found)
