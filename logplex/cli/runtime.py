"""
What a command finds around it: the reactor, a client, and how a conversation is run to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import click
from attrs import frozen
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.web.client import Agent

from logplex.cli.failures import INTERRUPTED, Failed
from logplex.interfaces import IReactor

CONNECT_TIMEOUT_S = 10.0

T = TypeVar("T")

#: What a command does once its options are understood.
Conversation = Callable[[], Coroutine[Deferred[Any], Any, T]]


class Run(Protocol):
    """Runs a conversation to its end; gives its result, or raises what it raised."""

    def __call__(self, conversation: Conversation[T]) -> T: ...


@frozen
class Runtime:
    """
    The surroundings of a command; a test puts others in their place.

    :ivar home: where the file with settings is looked for.
    """

    reactor: IReactor
    client: HTTPClient
    run: Run
    home: Path


def real_runtime() -> Runtime:
    """The runtime of a process."""
    from twisted.internet import reactor

    real = cast(IReactor, reactor)

    def run(conversation: Conversation[T]) -> T:
        return run_to_the_end(real, conversation)

    agent = Agent(real, connectTimeout=CONNECT_TIMEOUT_S)
    return Runtime(real, HTTPClient(agent), run, Path.home())


def run_to_the_end(reactor: IReactor, conversation: Conversation[T]) -> T:
    """
    Run the reactor as long as the conversation takes. It can be done once in a process.

    Ctrl-C and SIGTERM cancel the conversation, which may tidy up, and end the command with
    :data:`~logplex.cli.failures.INTERRUPTED`.
    """
    results: list[Any] = []
    interrupted = False

    def begin() -> None:
        nonlocal interrupted
        talking = Deferred.fromCoroutine(conversation())

        def interrupt() -> Deferred[None]:
            nonlocal interrupted
            interrupted = not results
            talking.cancel()
            return ended

        reactor.addSystemEventTrigger("before", "shutdown", interrupt)
        ended: Deferred[None] = talking.addBoth(results.append)
        ended.addBoth(lambda _: None if interrupted else reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run()
    (result,) = results
    if interrupted:
        if isinstance(result, Failure) and isinstance(result.value, Failed):
            result.value.show()
        raise click.exceptions.Exit(INTERRUPTED)
    if isinstance(result, Failure):
        if result.check(CancelledError):
            raise click.exceptions.Exit(INTERRUPTED)
        result.raiseException()
    return result  # type: ignore[no-any-return]
