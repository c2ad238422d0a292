# SPDX-License-Identifier: Apache-2.0

"""
The signals of the process: they are ignored while the node starts, and obeyed while it runs.

SIGHUP, SIGUSR1 and SIGUSR2 never kill a node. :mod:`~logplex.node.reload` reacts to SIGHUP.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

from twisted.logger import Logger

if TYPE_CHECKING:
    from logplex.interfaces import IReactor

_log = Logger()

_STOPPING = (signal.SIGINT, signal.SIGTERM)


class _Ignored:
    """
    A signal handler that does nothing.

    The handler counts as false, so that ``twistd`` installs its own handler of SIGUSR1 if it has to
    rotate a log file.
    """

    def __call__(self, number: int, frame: FrameType | None) -> None:
        pass

    def __bool__(self) -> bool:
        return False


def ignore_signals() -> None:
    """Ignore the signals that would kill the process before it has installed its own handlers."""
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _Ignored())


class StopSignals:
    """
    The signals SIGTERM and SIGINT while the node runs.

    The first of these signals stops the node, the second is logged, and the third ends the process
    at once.
    """

    def __init__(self, reactor: IReactor) -> None:
        self._reactor = reactor
        self._received = 0
        self._stop: dict[int, Callable[[int, FrameType | None], object]] = {}

    def begin(self) -> None:
        """
        Count the stop signals from now on. The reactor must have installed its handlers before.

        A signal that is ignored stays ignored, because shells start background processes with
        SIGINT ignored.
        """
        for number in _STOPPING:
            stop = signal.getsignal(number)
            if callable(stop):
                self._stop[number] = stop
                signal.signal(number, self._take)

    def stopping(self) -> None:
        """Record that the node has begun to stop, for any reason."""
        self._received = max(self._received, 1)

    def end(self) -> None:
        """Give the stop signals back to the handlers of the reactor."""
        for number, handler in self._stop.items():
            signal.signal(number, handler)
        self._stop.clear()

    def _take(self, number: int, frame: FrameType | None) -> None:
        self._received += 1
        if self._received == 1:
            self._stop[number](number, frame)
        elif self._received == 2:
            self._reactor.callFromThread(self._tell, signal.Signals(number).name)
        else:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def _tell(self, name: str) -> None:
        _log.warn("{name}: the node is stopping already; one more ends it at once", name=name)
