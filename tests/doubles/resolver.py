# SPDX-License-Identifier: Apache-2.0

"""A resolver whose threads and addresses a test holds."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from logplex.drains.network.resolver import Resolver


class HeldPool:
    """Runs what a thread would run when the test says so."""

    started = False

    def __init__(self) -> None:
        self.held: list[Callable[[], None]] = []

    def start(self) -> None:
        self.started = True

    def callInThreadWithCallback(
        self, onResult: Callable[..., None], func: Callable[..., Any], *args: Any
    ) -> None:
        def run() -> None:
            try:
                result = func(*args)
            except OSError:
                onResult(False, Failure())
            else:
                onResult(True, result)

        self.held.append(run)

    def run(self) -> None:
        held, self.held = self.held, []
        for each in held:
            each()


class DirectReactor(MemoryReactorClock):
    """Runs at once what threads give back."""

    def callFromThread(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        call(*args, **kwargs)


class ScriptedNames(Resolver):
    """Knows the addresses that a test says, without threads."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.failure: OSError | None = None
        self.pool = HeldPool()
        self.pool.callInThreadWithCallback = self._call  # type: ignore[method-assign]
        super().__init__(DirectReactor(), self._getaddrinfo_scripted, self.pool)  # type: ignore[arg-type]

    def _call(self, onResult: Callable[..., None], func: Callable[..., Any], *args: Any) -> None:
        HeldPool.callInThreadWithCallback(self.pool, onResult, func, *args)
        self.pool.run()

    def _getaddrinfo_scripted(self, host: str, port: int, *_: int) -> Sequence[Any]:
        if self.failure:
            raise self.failure
        return [
            (socket.AF_INET6, 1, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, 1, 6, "", (address, port))
            for address in self.addresses
        ]
