# SPDX-License-Identifier: Apache-2.0

"""
Three links to the Redis of one shard: for writing, for reading, and for published messages; and
the refusals that mean that the shard counts as away.

Writing has its own link, so that it never waits for reading. Published messages have another,
because Redis accepts no other commands on a connection with subscriptions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred, fail, gatherResults
from twisted.python.failure import Failure

from logplex.interfaces import StoreAway
from logplex.redis.connection import Argument, Refused
from logplex.spool.cluster.wire.history import History, parse_history, reading
from logplex.spool.cluster.wire.scripts import OPEN, Origin, Script

#: The codes of refusals by a shard that cannot be written to now, or not by this node.
_CANNOT_WRITE = frozenset({"OOM", "READONLY", "MISCONF", "NOREPLICAS", "NOPERM"})
_RUN_ID = re.compile(rb"^run_id:(\w+)", re.MULTILINE)


class Link(Protocol):
    """The methods of :class:`logplex.redis.link.RedisLink` that a shard needs."""

    @property
    def connected(self) -> bool: ...

    @property
    def trouble(self) -> str | None: ...

    def start(self) -> None: ...

    def stop(self) -> Deferred[None]: ...

    def ask(self, *command: Argument) -> Deferred[Any]: ...

    def ask_all(self, commands: Sequence[Sequence[Argument]]) -> Deferred[list[Any]]: ...


class MakeLink(Protocol):
    """
    A function that makes a link to a shard, not started yet.

    The function takes the arguments of :class:`~logplex.redis.link.RedisLink`.
    """

    def __call__(
        self,
        purpose: str,
        up: Callable[[], None],
        down: Callable[[], None],
        received: Callable[[bytes, bytes], None] | None = None,
    ) -> Link: ...


class ShardLinks:
    """
    Three links to the Redis of a shard: for writing, for reading and for publications.

    Every request fails with :class:`StoreAway` if the shard is away, or cannot do the request now.

    :param writable: called when the link for writing is connected.
    :param connected: called when one of the other links is connected.
    :param lost: called when any link is lost.
    :param published: called with the name and the bytes of each publication.
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
        """The reason why a link to the shard is missing; ``None`` if all links are connected."""
        return next((link.trouble for link in self._all if link.trouble), None)

    def start(self) -> None:
        """Connect the three links to the shard."""
        for link in self._all:
            link.start()

    async def stop(self) -> None:
        """Close the three links to the shard."""
        await gatherResults([link.stop() for link in self._all], consumeErrors=True)

    async def introduce(self, prefix: str, origin: Origin) -> tuple[bytes, list[str]]:
        """
        Check that this node may write and read the shard, and tell the shard that this node has
        started.

        :param prefix: the prefix of the names of publications.
        :return: the run id of the Redis process, empty if Redis does not give the id; and the keys
            that were replaced because they had another type.
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
        Run a script that writes to the shard.

        The result fails with ``Refused`` if the shard would refuse this call every time.
        """
        return _run(self.writing, script, *arguments)

    async def read(self, channel_id: str, origin: Origin, after: int | None) -> History:
        """
        Read the history of a channel in one atomic step.

        :param after: see :func:`~logplex.spool.cluster.wire.history.reading`.
        """
        return await _read(self.reading, channel_id, origin, after)

    def listen(self, *command: Argument) -> Deferred[Any]:
        """Send a command over the link that receives publications."""
        return self.listening.ask(*command).addErrback(_reading_refused)


async def _read(link: Link, channel_id: str, origin: Origin, after: int | None) -> History:
    answers = await link.ask_all(reading(channel_id, origin, after))
    refusal = next((each for each in answers if isinstance(each, Refused)), None)
    if refusal is not None:
        raise StoreAway(str(refusal))
    return parse_history(answers[-1])


def _run(link: Link, script: Script, *arguments: Argument) -> Deferred[Any]:
    """Run a script on Redis. Send the text of the script if Redis does not know the script yet."""

    def told(failure: Failure) -> Any:
        if isinstance(failure.value, Refused) and failure.value.code == "NOSCRIPT":
            return link.ask("EVAL", script.source, 0, *arguments)
        return failure

    running = link.ask("EVALSHA", script.sha, 0, *arguments)
    return running.addErrback(told).addErrback(_writing_refused)


def _reading_refused(failure: Failure) -> Any:
    """Return the error for a refused reading: the shard counts as away."""
    failure.trap(Refused, StoreAway)
    return fail(StoreAway(failure.getErrorMessage()))


def _writing_refused(failure: Failure) -> Any:
    """
    Return the error for a refused write: the shard counts as away if it cannot be written to now.
    """
    error = failure.value
    if isinstance(error, Refused) and error.code in _CANNOT_WRITE:
        return fail(StoreAway(failure.getErrorMessage()))
    return failure
