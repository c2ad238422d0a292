"""
Three links to one shard's Redis, and what is asked over which.

Writing has a link of its own, so that it never waits for reading; what is published comes over a
third, because Redis gives such a connection nothing else to do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred, gatherResults
from twisted.python.failure import Failure

from logplex.interfaces import StoreAway
from logplex.redis.connection import Argument, Refused
from logplex.spool.cluster.shard.refusals import reading_refused, writing_refused
from logplex.spool.cluster.wire.history import History, parse_history, reading
from logplex.spool.cluster.wire.scripts import OPEN, Origin, Script

_RUN_ID = re.compile(rb"^run_id:(\w+)", re.MULTILINE)


class Link(Protocol):
    """The part that a shard uses of :class:`logplex.redis.link.RedisLink`."""

    @property
    def connected(self) -> bool: ...

    @property
    def trouble(self) -> str | None: ...

    def start(self) -> None: ...

    def stop(self) -> Deferred[None]: ...

    def ask(self, *command: Argument) -> Deferred[Any]: ...

    def ask_all(self, commands: Sequence[Sequence[Argument]]) -> Deferred[list[Any]]: ...


class MakeLink(Protocol):
    """Make a link to the shard, not started yet; arguments as ``RedisLink`` has them."""

    def __call__(
        self,
        purpose: str,
        up: Callable[[], None],
        down: Callable[[], None],
        received: Callable[[bytes, bytes], None] | None = None,
    ) -> Link: ...


class ShardLinks:
    """
    The links, and what is said over them.

    Whatever is asked fails with :class:`StoreAway` where the shard is away, or may not do it now.

    :param writable: called when the link for writing is connected.
    :param connected: called when one of the others is.
    :param lost: called when any of them is lost.
    :param published: takes what is published.
    """

    def __init__(
        self,
        connect: MakeLink,
        writable: Callable[[], None],
        connected: Callable[[], None],
        lost: Callable[[], None],
        published: Callable[[bytes, bytes], None],
    ) -> None:
        self.writing = connect("writing", writable, lost)
        self.reading = connect("reading", connected, lost)
        self.listening = connect("listening", connected, lost, published)
        self._all = (self.writing, self.reading, self.listening)

    @property
    def trouble(self) -> str | None:
        """Why the first of those that are away is."""
        return next((link.trouble for link in self._all if link.trouble), None)

    def start(self) -> None:
        """Connect."""
        for link in self._all:
            link.start()

    async def stop(self) -> None:
        """Give them up."""
        await gatherResults([link.stop() for link in self._all], consumeErrors=True)

    async def introduce(self, prefix: str, origin: Origin) -> tuple[bytes, list[str]]:
        """
        See that the shard may be written to and read, and that it knows of a restart.

        :param prefix: of the names of live channels.
        :return: the run id of its process, empty if it does not tell us; and the keys that held
            something else and were replaced.
        """
        try:
            found = _RUN_ID.search(await self.writing.ask("INFO", "server"))
        except Refused:
            found = None
        run_id = found[1] if found else b""
        # There is no channel without an id.
        await _read(self.writing, "", origin, None)
        replaced = await self.write(OPEN, run_id or b"unknown", prefix)
        return run_id, ["logplex:shard"] if replaced else []

    def write(self, script: Script, *arguments: Argument) -> Deferred[Any]:
        """
        Run a script that writes. Fails with ``Refused``, too, where the shard
        refuses this and would always.
        """
        return _run(self.writing, script, *arguments)

    async def read(self, channel_id: str, origin: Origin, after: int | None) -> History:
        """
        Read a channel in one atomic step.

        :param after: see :func:`~logplex.spool.cluster.wire.history.reading`.
        """
        return await _read(self.reading, channel_id, origin, after)

    def listen(self, *command: Argument) -> Deferred[Any]:
        """Give a command over the connection that is subscribed."""
        return self.listening.ask(*command).addErrback(reading_refused)


async def _read(link: Link, channel_id: str, origin: Origin, after: int | None) -> History:
    answers = await link.ask_all(reading(channel_id, origin, after))
    refusal = next((each for each in answers if isinstance(each, Refused)), None)
    if refusal is not None:
        raise StoreAway(str(refusal))
    return parse_history(answers[-1])


def _run(link: Link, script: Script, *arguments: Argument) -> Deferred[Any]:
    """Run a script; the shard is told its text where it does not know it (any more)."""

    def told(failure: Failure) -> Any:
        if isinstance(failure.value, Refused) and failure.value.code == "NOSCRIPT":
            return link.ask("EVAL", script.source, 0, *arguments)
        return failure

    running = link.ask("EVALSHA", script.sha, 0, *arguments)
    return running.addErrback(told).addErrback(writing_refused)
