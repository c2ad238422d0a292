# SPDX-License-Identifier: Apache-2.0

"""
The reactor and the HTTP client of one command. The reactor runs until the command ends.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import click
from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure
from twisted.web.iweb import IAgent

from logplex.certificates import read_authorities
from logplex.cli.client.agent import CommandAgent
from logplex.cli.failures import INTERRUPTED, Failed
from logplex.clock import make_steady
from logplex.interfaces import IReactor

CONNECT_TIMEOUT_S = 10.0

T = TypeVar("T")

#: The work of a command, after Click has parsed its options.
Conversation = Callable[[], Coroutine[Deferred[Any], Any, T]]


class Run(Protocol):
    """
    The type of a function that runs a coroutine to its end. The function returns the result, or
    raises the exception.
    """

    def __call__(self, conversation: Conversation[T]) -> T: ...


@frozen
class Runtime:
    """
    The parts of the process that a command needs. Tests replace them.

    :ivar agent: a function that makes an HTTP agent. The argument is the path of a file of trusted
        certificate authorities; ``""`` means the authorities of the system.
    :ivar home: the user's home directory, which contains the user's settings file.
    """

    reactor: IReactor
    agent: Callable[[str], IAgent]
    run: Run
    home: Path


def real_runtime() -> Runtime:
    """Return the runtime of this process."""
    from twisted.internet import reactor

    make_steady(reactor)
    real = cast(IReactor, reactor)

    def run(conversation: Conversation[T]) -> T:
        return run_to_the_end(real, conversation)

    def endpoint_to(host: str, port: int) -> IStreamClientEndpoint:
        return HostnameEndpoint(real, host, port, timeout=CONNECT_TIMEOUT_S)

    def agent(ca_file: str) -> IAgent:
        authorities = read_authorities("--ca-file", ca_file) if ca_file else None
        return CommandAgent(real, endpoint_to, os.environ, authorities)

    return Runtime(real, agent, run, home_directory())


def home_directory() -> Path:
    """Return the user's home directory. If there is none, return a path at which no file exists."""
    try:
        return Path.home()
    except RuntimeError:
        return Path(os.devnull)


def run_to_the_end(reactor: IReactor, conversation: Conversation[T]) -> T:
    """
    Run the reactor until the coroutine has ended. A process can call this function only once.

    Ctrl-C and SIGTERM cancel the coroutine, which can still clean up. The exit status is then
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

    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        # Twisted replaces only this handler.
        signal.signal(signal.SIGINT, signal.default_int_handler)
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
