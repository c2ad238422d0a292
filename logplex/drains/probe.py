# SPDX-License-Identifier: Apache-2.0

"""A test message to the receiver of a drain, sent in the same way as the drain's messages."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from logplex.clock import wall_s
from logplex.drains.delivery.buffer import Buffer
from logplex.drains.delivery.courier import Courier, Outcome
from logplex.drains.kinds.http import HttpCourier
from logplex.drains.network.errors import explain, printable
from logplex.interfaces import DrainTest
from logplex.metrics import Counters
from logplex.syslog.notices import timestamp

#: A test ends within this time.
TIMEOUT_S = 10.0


@define(eq=False, repr=False)
class Probe:
    """
    A test message to the receiver of a drain. The message is not counted, and does not appear in
    the channel.

    Implements :class:`~logplex.drains.delivery.courier.Reports` for one courier.

    :ivar buffer: a buffer that contains the test message, for the courier.
    """

    clock: IReactorTime
    buffer: Buffer = field(init=False)
    outcome: Outcome = field(factory=Outcome, init=False)
    _settled: Deferred[None] = field(factory=Deferred, init=False)

    def __attrs_post_init__(self) -> None:
        self.buffer = Buffer(self.clock, Counters(), 1, lambda _: None)
        self.buffer.push(
            [
                b"<190>1 %b host heroku logplex - - Test message of Logplex\n"
                % timestamp(wall_s(self.clock))
            ]
        )

    def send(self, courier: Courier[Any]) -> Deferred[DrainTest]:
        """
        Send the test message, and return the result of the test.

        :param courier: a courier that was made with this probe as its reports, and with the probe's
            buffer and outcome.
        """
        sending = Deferred.fromCoroutine(self._send(courier))
        sending.addTimeout(TIMEOUT_S, self.clock)
        return sending.addCallbacks(
            lambda _: self._outcome(courier), lambda why: self._failed(courier, why)
        )

    async def _send(self, courier: Courier[Any]) -> None:
        connection = await courier.connect()
        try:
            courier.send(connection)
            await self._settled
        finally:
            connection.close()

    # Called by the courier.

    def finished(self, at_once: bool = False) -> None:
        """See :meth:`Reports.finished`."""
        self._settle()

    def over(self, delay_s: float = 0.0) -> None:
        """See :meth:`Reports.over`. The test ends, because a test has only one attempt."""
        self._settle()

    def reachable(self, delay_s: float) -> None:
        """
        See :meth:`Reports.reachable`. Do nothing, because a test does not wait for a receiver.
        """

    # The end of a test.

    def _settle(self) -> None:
        if not self._settled.called:
            self._settled.callback(None)

    def _outcome(self, courier: Courier[Any]) -> DrainTest:
        courier.recall()
        delivered = self.buffer.delivered == 1
        answer = courier.last_answer if isinstance(courier, HttpCourier) else None
        return DrainTest(
            delivered=delivered,
            status=answer.status if answer else None,
            said=printable(answer.excerpt) if answer else "",
            error=None if delivered else self.outcome.last_error or "it was not sent",
        )

    def _failed(self, courier: Courier[Any], why: Failure) -> DrainTest:
        courier.recall()
        return DrainTest(delivered=False, error=explain(why))
