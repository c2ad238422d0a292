# SPDX-License-Identifier: Apache-2.0

"""
Signals: ignored while the node starts, obeyed while it runs.

SIGHUP, SIGUSR1 and SIGUSR2 never kill a node. :mod:`~logplex.node.reload` obeys SIGHUP.
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
    A handler of signals that does nothing. It counts as false, so that ``twistd`` installs its own
    handler of SIGUSR1 if it has to rotate a log file.
    """

    def __call__(self, number: int, frame: FrameType | None) -> None:
        pass

    def __bool__(self) -> bool:
        return False


def ignore_signals() -> None:
    """Ignore the signals that would kill a process that has not begun to obey them."""
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _Ignored())


class StopSignals:
    """
    SIGTERM and SIGINT while the node runs. The first stops the node, the second is logged, and the
    third ends the process at once.
    """

    def __init__(self, reactor: IReactor) -> None:
        self._reactor = reactor
        self._received = 0
        self._stop: dict[int, Callable[[int, FrameType | None], object]] = {}

    def begin(self) -> None:
        """
        Count the signals from now on. The reactor has installed its handlers already.

        A signal without a handler stays so: shells start background processes with SIGINT ignored.
        """
        for number in _STOPPING:
            stop = signal.getsignal(number)
            if callable(stop):
                self._stop[number] = stop
                signal.signal(number, self._take)

    def stopping(self) -> None:
        """Note that the node stops, for any reason."""
        self._received = max(self._received, 1)

    def end(self) -> None:
        """Let the handlers of the reactor be called again."""
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
