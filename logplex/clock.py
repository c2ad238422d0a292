# SPDX-License-Identifier: Apache-2.0

"""
The two clocks of a node: one for durations, and one for time stamps.

Every timer, timeout and duration uses the ``seconds()`` of the reactor, which grow steadily, even
if the machine's time is changed. A time stamp that is shown or kept is the machine's time, from
:func:`wall_s`. Both are seconds since the epoch, and are equal when the node starts.
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

    A reactor with this function as its ``seconds`` has separate clocks for durations and for time
    stamps. This also holds for a proxy of the reactor.
    """

    origin_s: float

    def __call__(self) -> float:
        return self.origin_s + time.monotonic()


def make_steady(reactor: object) -> None:
    """
    Make the seconds of a reactor independent of changes to the machine's time.

    This function must be called before any call is scheduled. Calls that are already scheduled
    would come too early or too late.
    """
    if isinstance(reactor, ReactorBase):
        reactor.seconds = _Steady(time.time() - time.monotonic())


def wall_s(clock: IReactorTime) -> float:
    """
    Return the machine's time in seconds since the epoch, for a time stamp.

    :param clock: the clock of the node. In a test, its seconds are also the time stamps.
    """
    return time.time() if isinstance(clock.seconds, _Steady) else clock.seconds()
