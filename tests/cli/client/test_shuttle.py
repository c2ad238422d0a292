# SPDX-License-Identifier: Apache-2.0

"""Lines to a node that is slow, away, or refuses."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from logplex.cli.client.api import Asker
from logplex.cli.client.frames import Form
from logplex.cli.client.shuttle import (
    LINGER_S,
    PARCEL_LINES,
    PATIENCE_S,
    WAITING_LINES,
    Shuttle,
    deliver_all,
)
from logplex.cli.failures import Failed, Incomplete, Rejected, Unreachable
from logplex.syslog.bodies import decode_body
from tests.doubles.runtime import STEP_S, memory_runtime

#: Answers of a node.
TAKEN = 204
LOST = 0
SILENCE = -1


class Input(Resource):
    """
    ``POST /logs`` with answers that were agreed on; 204 after those.

    :ivar parcels: frame ids and lines, in the order in which they came.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[int] = []
        self.parcels: list[tuple[str, list[bytes]]] = []

    def render_POST(self, request: Request) -> bytes | int:
        assert request.content is not None
        messages, _, _ = decode_body(request.content.read(), 10_000)
        if str(len(messages)) != request.getHeader("Logplex-Msg-Count"):
            raise AssertionError("wrong count")
        lines = [message.split(b" ", 7)[7] for message in messages]
        self.parcels.append((str(request.getHeader("Logplex-Frame-Id")), lines))
        answer = self.answers.pop(0) if self.answers else TAKEN
        if answer == SILENCE:
            return NOT_DONE_YET
        if answer == LOST:
            cast(Any, request.channel).transport.abortConnection()
            return NOT_DONE_YET
        request.setResponseCode(answer)
        return b""


class ShuttleCase(SynchronousTestCase):
    """A shuttle and a node in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.input = Input()
        runtime, self.net = memory_runtime(
            self.clock, {8601: Site(self.input, reactor=self.clock)}, Path()
        )
        self.pauses: list[str] = []
        ids = map("{:032X}".format, count(1))
        self.remarks: list[str] = []
        self.shuttle = Shuttle(
            Asker(runtime.agent(""), self.clock),
            "http://localhost:8601",
            "t.1",
            Form(14, "host", "t.1", "send"),
            self.clock,
            lambda: next(ids),
            lambda: self.pauses.append("pause"),
            lambda: self.pauses.append("resume"),
            self.remarks.append,
        )
        self.running = Deferred.fromCoroutine(deliver_all(self.shuttle))

    def step(self, seconds: float = 0.0) -> None:
        """Let time pass, and deliver all written bytes."""
        passed = 0.0
        while self.net.flush():
            pass
        while passed < seconds:
            self.clock.advance(STEP_S)
            passed += STEP_S
            while self.net.flush():
                pass

    def push(self, lines: range) -> None:
        self.shuttle.push([b"%d" % number for number in lines])
        self.step()

    def sizes(self) -> list[int]:
        return [len(lines) for _, lines in self.input.parcels]

    def arrived(self) -> list[int]:
        """Return the numbers in all parcels that arrived."""
        return [int(line) for _, lines in self.input.parcels for line in lines]


class GatheringTests(ShuttleCase):
    """The moment at which a parcel is sent."""

    def test_full_batch_leaves_at_once(self) -> None:
        self.push(range(PARCEL_LINES))
        self.assertEqual([PARCEL_LINES], self.sizes())

    def test_others_wait_for_company(self) -> None:
        self.push(range(3))
        self.assertEqual([], self.sizes())
        self.step(LINGER_S)
        self.assertEqual([3], self.sizes())

    def test_again(self) -> None:
        """Lines that arrived during a request are sent when it ends."""
        self.input.answers = [SILENCE]
        self.push(range(PARCEL_LINES))
        self.push(range(2))
        self.step(LINGER_S)
        self.assertEqual([PARCEL_LINES], self.sizes())
        self.clock.advance(30)  # it is given up, and tried again
        self.step(1)
        self.assertEqual([PARCEL_LINES, PARCEL_LINES, 2], self.sizes())

    def test_end(self) -> None:
        """At the end of the input the last lines are sent at once."""
        self.push(range(1_201))
        self.shuttle.end()
        self.step()
        self.assertEqual([500, 500, 201], self.sizes())
        self.assertEqual(list(range(1_201)), self.arrived())
        self.successResultOf(self.running)
        self.assertEqual((1_201, 0), (self.shuttle.delivered, self.shuttle.undelivered))
        self.assertEqual([], [each for each in self.clock.calls if each.active()])

    def test_nothing(self) -> None:
        self.shuttle.end()
        self.successResultOf(self.running)
        self.assertEqual(0, self.net.asked)

    def test_memory_is_bounded(self) -> None:
        """Reading pauses while too many lines wait."""
        self.input.answers = [SILENCE]
        self.push(range(PARCEL_LINES))
        self.push(range(WAITING_LINES - 1))
        self.assertEqual([], self.pauses)
        self.push(range(1))
        self.assertEqual(["pause"], self.pauses)
        self.clock.advance(30)
        self.step(1)
        self.assertEqual(["pause", "resume"], self.pauses)


class TroubleTests(ShuttleCase):
    """Parcels that the node does not take at once."""

    def test_tried_again(self) -> None:
        """A parcel is sent again with its frame id, before any other."""
        self.input.answers = [503, LOST, 429]
        self.push(range(501))
        self.shuttle.end()
        self.step(10)
        self.successResultOf(self.running)
        self.assertEqual([500, 500, 500, 500, 1], self.sizes())
        ids = [frame_id for frame_id, _ in self.input.parcels]
        self.assertEqual(1, len(set(ids[:4])))
        self.assertNotEqual(ids[0], ids[4])
        self.assertEqual(501, self.shuttle.delivered)

    def test_node_is_away(self) -> None:
        """The shuttle waits for the node, with growing pauses, but not for ever."""
        self.net.servers.clear()
        self.push(range(2))
        self.shuttle.end()
        self.step(PATIENCE_S)
        self.step(1)
        failed = self.failureResultOf(self.running, Unreachable).value
        self.assertIn("cannot be reached", failed.message)
        self.assertIn("0 lines were delivered, 2 were read and not delivered", failed.message)
        self.assertLess(self.net.asked, 25)

    def test_the_first_failure_is_told(self) -> None:
        """One line says why a parcel waits, when its first attempt has failed."""
        servers = dict(self.net.servers)
        self.net.servers.clear()
        self.push(range(PARCEL_LINES))
        self.step()
        (remark,) = self.remarks
        self.assertRegex(remark, r"^http://localhost:8601 cannot be reached: .*; trying again for")
        self.step(60)
        self.net.servers.update(servers)
        self.step(15)
        self.assertEqual((PARCEL_LINES, 1), (self.shuttle.delivered, len(self.remarks)))
        self.net.servers.clear()
        self.push(range(PARCEL_LINES))
        self.step(60)
        self.assertEqual(2, len(self.remarks))

    def test_node_comes_back(self) -> None:
        servers = dict(self.net.servers)
        self.net.servers.clear()
        self.push(range(2))
        self.shuttle.end()
        self.step(60)
        self.net.servers.update(servers)
        self.step(15)
        self.successResultOf(self.running)
        self.assertEqual([0, 1], self.arrived())

    def test_unknown_token(self) -> None:
        """A parcel with an unknown token is not sent again."""
        self.input.answers = [401]
        self.push(range(500))
        failed = self.failureResultOf(self.running, Rejected).value
        self.assertIn("does not know this token", failed.message)
        self.assertNotIn("t.1", failed.message)

    def test_a_part(self) -> None:
        """After a failure no parcel is sent, and the error has the numbers of lines."""
        self.input.answers = [204, 400]
        self.push(range(1_400))
        failed: Failed = self.failureResultOf(self.running, Incomplete).value
        self.assertIn("500 lines were delivered, 900 were read and not delivered", failed.message)
        self.assertEqual([500, 500], self.sizes())

    def test_interrupted(self) -> None:
        """The error has the number of lines that may not have been delivered."""
        self.push(range(3))
        self.running.cancel()
        failed: Failed = self.failureResultOf(self.running, Incomplete).value
        self.assertIn("0 lines were delivered, 3 were read", failed.message)

    def test_interrupted_while_nothing_waits(self) -> None:
        self.push(range(500))
        self.running.cancel()
        self.failureResultOf(self.running, CancelledError)
