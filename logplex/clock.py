# SPDX-License-Identifier: Apache-2.0

"""
The two clocks of a node: one for durations, and one for stamps.

Every timer, timeout and duration goes by the ``seconds()`` of the reactor, which grow steadily,
whatever happens to the time of the machine. A stamp that is shown or kept is the time of the
machine, from :func:`wall_s`. Both are seconds since the epoch, and equal when the node starts.
"""

from __future__ import annotations

import time

from attrs import frozen
from twisted.internet.base import ReactorBase
from twisted.internet.interfaces import IReactorTime


@frozen
class _Steady:
    """
    A function that returns the seconds since the epoch, from a clock that is never set.

    It is the mark of a reactor that has two times, also behind a proxy for the reactor.
    """

    origin_s: float

    def __call__(self) -> float:
        return self.origin_s + time.monotonic()


def make_steady(reactor: object) -> None:
    """
    Make the seconds of a reactor independent of changes to the machine's time.

    Call it before anything is scheduled: calls that are scheduled already would come too early or
    too late.
    """
    if isinstance(reactor, ReactorBase):
        reactor.seconds = _Steady(time.time() - time.monotonic())


def wall_s(clock: IReactorTime) -> float:
    """
    Return the time of the machine, in seconds since the epoch, for a stamp.

    :param clock: the clock of the node. In a test, its seconds are also the stamps.
    """
    return time.time() if isinstance(clock.seconds, _Steady) else clock.seconds()
