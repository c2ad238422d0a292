# SPDX-License-Identifier: Apache-2.0

"""
Send lines to a node in parcels. One parcel follows another, and a parcel is sent again until the
node has accepted it.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater

from logplex.cli.client.api import Asker, failure_of
from logplex.cli.client.frames import Form, Parcel
from logplex.cli.failures import Failed, Incomplete, Rejected, Unreachable
from logplex.clock import wall_s

PARCEL_LINES = 500
#: A parcel is complete at this size. Nodes take bodies of up to 8,000,000 bytes.
PARCEL_BYTES = 1_000_000
#: The longest time that a line waits for more lines.
LINGER_S = 0.25
#: The number of waiting lines at which reading pauses.
WAITING_LINES = 2 * PARCEL_LINES
#: The time during which a parcel is tried again. Nodes remember frame ids for 300 s.
PATIENCE_S = 120.0

_FIRST_DELAY_S = 0.25
_MAX_DELAY_S = 10.0


@define(eq=False, repr=False)
class Shuttle:
    """
    Deliver lines to a node in order. After a parcel that cannot be delivered, no later parcel is
    sent.

    :param frame_id: returns a new frame id: 32 hexadecimal digits.
    :param pause: called to stop the source of the lines.
    :param resume: called to continue the source of the lines.
    :param remark: called with a text, for standard error, if the node does not accept a parcel at
        once.
    :ivar delivered: the number of lines that the node has accepted.
    :ivar waiting: the lines that are not in a parcel yet.
    """

    asker: Asker
    url: str
    token: str = field(repr=False)
    form: Form
    clock: IReactorTime
    frame_id: Callable[[], str]
    pause: Callable[[], None]
    resume: Callable[[], None]
    remark: Callable[[str], None]
    delivered: int = 0
    waiting: list[bytes] = field(factory=list)
    _under_way: int = 0
    _is_paused: bool = False
    _has_ended: bool = False
    _linger: IDelayedCall | None = None
    _wakeup: Deferred[None] | None = None

    @property
    def undelivered(self) -> int:
        """The number of lines that were read, but are not known to be delivered."""
        return self._under_way + len(self.waiting)

    def push(self, lines: list[bytes]) -> None:
        """Add lines to the waiting lines."""
        if lines and not self.waiting:
            self._linger = self.clock.callLater(LINGER_S, self._wake)
        self.waiting += lines
        if len(self.waiting) >= PARCEL_LINES:
            self._wake()
        if len(self.waiting) >= WAITING_LINES and not self._is_paused:
            self._is_paused = True
            self.pause()

    def end(self) -> None:
        """Tell the shuttle that no more lines will come."""
        self._has_ended = True
        self._wake()

    async def run(self) -> None:
        """
        Deliver all lines until the end.

        :raise Failed: a line could not be delivered.
        """
        try:
            while self.waiting or not self._has_ended:
                await self._due()
                if self.waiting:
                    await self._deliver(self._take())
        finally:
            self._stop_lingering()

    # Gather lines into parcels.

    async def _due(self) -> None:
        """
        Wait until a parcel is full, its first line has waited long enough, or the input has ended.
        """
        while not (self._has_ended or len(self.waiting) >= PARCEL_LINES or self._is_due):
            self._wakeup = Deferred()
            await self._wakeup

    @property
    def _is_due(self) -> bool:
        """True if the oldest waiting line has waited long enough."""
        return bool(self.waiting) and self._linger is None

    def _wake(self) -> None:
        self._stop_lingering()
        wakeup, self._wakeup = self._wakeup, None
        if wakeup is not None:
            wakeup.callback(None)

    def _stop_lingering(self) -> None:
        linger, self._linger = self._linger, None
        if linger is not None and linger.active():
            linger.cancel()

    def _take(self) -> Parcel:
        """Remove the oldest waiting lines, and return them as a parcel."""
        self._stop_lingering()
        size = lines = 0
        while lines < min(PARCEL_LINES, len(self.waiting)) and size < PARCEL_BYTES:
            size += len(self.waiting[lines])
            lines += 1
        taken, self.waiting = self.waiting[:lines], self.waiting[lines:]
        self._under_way = lines
        if self.waiting:
            self._linger = self.clock.callLater(LINGER_S, self._wake)
        if self._is_paused and len(self.waiting) < WAITING_LINES:
            self._is_paused = False
            self.resume()
        return Parcel(self.frame_id(), lines, self.form.frames(taken, wall_s(self.clock)))

    # Deliver parcels.

    async def _deliver(self, parcel: Parcel) -> None:
        """
        Send a parcel again and again until the node has accepted it. Wait longer after each
        failure.
        """
        give_up_s = self.clock.seconds() + PATIENCE_S
        for attempt in count():
            try:
                await self._post(parcel)
            except Unreachable as trouble:
                delay_s = min(_MAX_DELAY_S, _FIRST_DELAY_S * 2**attempt)
                if self.clock.seconds() + delay_s > give_up_s:
                    raise trouble
                if attempt == 0:
                    self.remark(f"{trouble.message}; trying again for {PATIENCE_S:.0f} s")
                await deferLater(self.clock, delay_s)
            else:
                self.delivered += parcel.count
                self._under_way = 0
                return

    async def _post(self, parcel: Parcel) -> None:
        headers = {
            "Content-Type": "application/logplex-1",
            "Logplex-Msg-Count": str(parcel.count),
            "Logplex-Frame-Id": parcel.frame_id,
        }
        response = await self.asker.ask(
            "POST", f"{self.url}/logs", headers, parcel.body, ("token", self.token)
        )
        await self.asker.content(response)
        if response.code == 401:
            raise Rejected("the node does not know this token")
        if response.code != 204:
            raise failure_of(response.code, f"POST /logs was answered {response.code}", True)


async def deliver_all(shuttle: Shuttle) -> None:
    """
    Run a shuttle to its end. If it fails, the error text gives the numbers of delivered and
    undelivered lines.

    :raise Incomplete: only a part of the lines was delivered.
    :raise Failed: no line was delivered.
    """
    try:
        await shuttle.run()
    except Failed as failed:
        why = (
            f"{failed.message}; {shuttle.delivered} lines were delivered,"
            f" {shuttle.undelivered} were read and not delivered"
        )
        raise (Incomplete(why) if shuttle.delivered else type(failed)(why)) from None
    except CancelledError:
        if shuttle.undelivered:
            raise Incomplete(
                f"interrupted; {shuttle.delivered} lines were delivered,"
                f" {shuttle.undelivered} were read and perhaps not delivered"
            ) from None
        raise
