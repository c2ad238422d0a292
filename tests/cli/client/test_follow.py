# SPDX-License-Identifier: Apache-2.0

"""One stream of lines over many connections and sessions."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Site

from logplex.cli.client.api import Api, Asker
from logplex.cli.client.events import Event
from logplex.cli.client.follow import EVERYTHING, SILENCE_S, Follower
from logplex.cli.client.lines import Filter, parse_line
from logplex.cli.failures import NotFound, Rejected, Unreachable
from tests.doubles.runtime import STEP_S, memory_runtime
from tests.doubles.sessions import CUT, OPEN, Sessions, Stream, messages


class FollowCase(SynchronousTestCase):
    """A follower and a node."""

    filter = Filter()

    def setUp(self) -> None:
        self.clock = Clock()
        self.node = Sessions()
        site = Site(self.node, reactor=self.clock)
        runtime, self.net = memory_runtime(self.clock, {8002: site, 8001: site}, Path())
        self.told: list[Event] = []
        self.remarks: list[str] = []
        self.follower = Follower(
            Api(Asker(runtime.agent(""), self.clock), "http://localhost:8002"),
            "shop",
            self.filter,
            self.told.extend,
            self.remarks.append,
            lambda: 0.0,
        )

    def history(self, num: int = 100) -> Deferred[None]:
        reading = Deferred.fromCoroutine(self.follower.history(num))
        self.step(3)
        return reading

    def live(self) -> Deferred[None]:
        following = Deferred.fromCoroutine(self.follower.live())
        self.addCleanup(following.addErrback, lambda _: None)
        self.addCleanup(following.cancel)
        self.step(3)
        return following

    def step(self, seconds: float) -> None:
        """Let time pass, and deliver all written bytes."""
        passed = 0.0
        while self.net.flush():
            pass
        while passed < seconds:
            self.clock.advance(STEP_S)
            passed += STEP_S
            while self.net.flush():
                pass

    def shown(self) -> list[str]:
        return [parse_line(event.data).message for event in self.told]


class HistoryTests(FollowCase):
    """The recent lines."""

    def test_all(self) -> None:
        self.node.streams = [Stream(messages(1, 2))]
        self.successResultOf(self.history())
        self.assertEqual(["1", "2"], self.shown())
        self.assertEqual([{"channel_id": "shop", "num": "100", "tail": False}], self.node.made)

    def test_none(self) -> None:
        """One line is read anyway, since live lines follow its number."""
        self.node.streams = [Stream(messages(7)), Stream(messages(8), OPEN)]
        self.successResultOf(self.history(0))
        self.assertEqual([], self.shown())
        self.live()
        self.assertEqual(["8"], self.shown())
        self.assertEqual((b"/sessions/2", "7"), self.node.asked[-1])

    def test_cut(self) -> None:
        """After a cut the recent lines continue where they were cut."""
        self.node.streams = [Stream(messages(1), CUT), Stream(messages(2))]
        self.successResultOf(self.history())
        self.assertEqual(["1", "2"], self.shown())
        self.assertEqual([(b"/sessions/1", None), (b"/sessions/1", "1")], self.node.asked)

    def test_cut_again_and_again(self) -> None:
        self.node.streams = [Stream(then=CUT)] * 10
        reading = self.history()
        self.step(60)
        self.failureResultOf(reading, Unreachable)
        self.assertEqual([], self.shown())

    def test_unknown_channel(self) -> None:
        self.node.refusals = [(422, "channel not found")]
        self.failureResultOf(self.history(), NotFound)

    def test_unreachable(self) -> None:
        """A node that cannot be reached at the start is an error."""
        self.net.servers.clear()
        self.failureResultOf(self.history(), Unreachable)

    def test_session_is_unreachable(self) -> None:
        """If the node's [urls] api is wrong, the error names this option."""
        del self.net.servers[8001]
        failed = self.failureResultOf(self.history(), Unreachable).value
        self.assertIn("http://localhost:8001 cannot be reached", failed.message)
        self.assertIn("[urls] api", failed.message)
        self.assertNotIn("sessions/", failed.message)

    def test_no_events(self) -> None:
        """A proxy or an Erlang node answers with something else than events."""
        self.node.streams = [Stream(b"T app[web]: x\n", headers={"Content-Type": "text/html"})]
        self.failureResultOf(self.history(), Rejected)

    def test_sessions_url_is_secret(self) -> None:
        self.node.streams = [Stream(b"Not\nfound", status=404, headers={})]
        failed = self.failureResultOf(self.history(), NotFound).value
        self.assertEqual("Not found", failed.message)


class FilteredTests(FollowCase):
    """Filters that a session cannot apply."""

    filter = Filter(excluded=["cron"])

    def test_num_counts_what_is_shown(self) -> None:
        text = messages(1, 2, 3) + b"id: 4\ndata: T app[cron]: 4\n\n"
        self.node.streams = [Stream(text)]
        self.successResultOf(self.history(2))
        self.assertEqual(["2", "3"], self.shown())
        self.assertEqual(str(EVERYTHING), self.node.made[0]["num"])
        self.live()
        self.assertEqual("4", self.node.asked[-1][1])

    def test_comments_are_shown(self) -> None:
        """A comment is shown even if the filter hides all lines after it."""
        for shown in (Filter(excluded=["cron"]), Filter(sources=["app"], processes=["web"])):
            self.filter = shown
            self.setUp()
            hidden = b"id: 9\ndata: T app[cron]: 9\n\n"
            self.node.streams = [
                Stream(messages(1), CUT),
                Stream(b": 7 are gone\n\n" + hidden, OPEN),
            ]
            self.live()
            self.assertEqual((["1"], ["7 are gone"]), (self.shown(), self.remarks))

    def test_notices_are_shown(self) -> None:
        self.filter = Filter(sources=["app"])
        self.node.streams = [Stream(b"data: T logplex[1]: Error L11 (x)\n\n", OPEN)]
        self.live()
        self.assertEqual(["Error L11 (x)"], self.shown())


class LiveTests(FollowCase):
    """The live lines."""

    def test_cut(self) -> None:
        """The same session is read again, after the last number."""
        self.node.streams = [
            Stream(messages(1)),
            Stream(messages(2, 3), CUT),
            Stream(messages(4), CUT),
            Stream(messages(5), OPEN),
        ]
        self.successResultOf(self.history())
        self.live()
        self.assertEqual(["1", "2", "3", "4", "5"], self.shown())
        self.assertEqual(["1", "3", "4"], [place for _, place in self.node.asked[1:]])
        self.assertEqual(2, len(self.node.made))
        self.assertEqual([], self.remarks)

    def test_cut_after_what_nobody_is_shown(self) -> None:
        """An id without an event moves the place at which the stream is resumed."""
        self.node.streams = [
            Stream(messages(1)),
            Stream(messages(2) + b"id: 9\n:\n\n", CUT),
            Stream(messages(10), OPEN),
        ]
        self.successResultOf(self.history())
        self.live()
        self.assertEqual(["1", "2", "10"], self.shown())
        self.assertEqual(["1", "9"], [place for _, place in self.node.asked[1:]])

    def test_cut_within_an_event(self) -> None:
        """An incomplete event counts as not received."""
        self.node.streams = [
            Stream(messages(1) + b"id: 2\ndata: T app[web.1]: 2", CUT),
            Stream(messages(2), OPEN),
        ]
        self.live()
        self.assertEqual(["1", "2"], self.shown())

    def test_session_has_expired(self) -> None:
        """A new session continues after the last number."""
        self.node.streams = [
            Stream(messages(1), CUT),
            Stream(b"Not found", status=404, headers={}),
            Stream(messages(2), OPEN),
        ]
        self.live()
        self.assertEqual(["1", "2"], self.shown())
        self.assertEqual([(b"/sessions/1", "1"), (b"/sessions/2", "1")], self.node.asked[1:])

    def test_empty_history(self) -> None:
        """If no line has arrived before a cut, all recent lines are new."""
        self.node.streams = [Stream(), Stream(then=CUT), Stream(messages(1, 2), OPEN)]
        self.successResultOf(self.history(1))
        self.live()
        self.assertEqual(["1", "2"], self.shown())
        self.assertEqual(str(EVERYTHING), self.node.made[1]["num"])

    def test_node_restarts(self) -> None:
        """The follower waits for the node, and says so once."""
        self.node.streams = [Stream(messages(1), CUT)]
        self.live()
        servers = dict(self.net.servers)
        self.net.servers.clear()
        self.node.streams = [Stream(messages(2), OPEN)]
        for each in self.net.connections:
            each.serverIO.loseConnection()
        self.step(30)
        self.net.servers.update(servers)
        self.node.refusals = [(503, "the node is starting")]
        self.step(30)
        self.assertEqual(["1", "2"], self.shown())
        self.assertEqual(1, len(self.remarks))
        self.assertIn("cannot be reached", self.remarks[0])

    def test_node_stays_away(self) -> None:
        """A node is away for a whole night: one request in ten seconds at most."""
        self.node.streams = [Stream(messages(1), CUT)]
        self.live()
        servers = dict(self.net.servers)
        self.net.servers.clear()
        for each in self.net.connections:
            each.serverIO.loseConnection()
        for _ in range(7_200):
            self.clock.advance(5)
        self.assertLess(self.net.asked, 7_300)
        self.net.servers.update(servers)
        self.node.streams = [Stream(messages(2), OPEN)]
        self.step(15)
        self.assertEqual(["1", "2"], self.shown())

    def test_silence(self) -> None:
        """A connection without keepalives counts as lost; one with keepalives does not."""
        self.node.streams = [Stream(messages(1), OPEN), Stream(messages(2), OPEN)]
        self.live()
        self.step(SILENCE_S - 5)
        self.assertEqual(["1"], self.shown())
        self.step(10)
        self.assertEqual(["1", "2"], self.shown())

    def test_deleted(self) -> None:
        self.node.streams = [Stream(messages(1)), Stream(status=404, headers={})]
        self.follower.last_number = b"0"
        following = Deferred.fromCoroutine(self.follower.live())
        self.step(0)
        self.node.refusals = [(422, "channel not found")]
        self.step(3)
        self.failureResultOf(following, NotFound)

    def test_forbidden(self) -> None:
        """A channel that cannot be tailed is not tried again."""
        self.node.streams = [Stream(b"data: T Logplex: Error L20 (Tail sessions forbidden) x\n\n")]
        self.failureResultOf(self.live(), Rejected)
        self.assertEqual(1, len(self.shown()))
        self.assertEqual(1, len(self.node.asked))

    def test_credential_was_taken_away(self) -> None:
        self.node.streams = [Stream(messages(1)), Stream(status=404, headers={})]
        following = Deferred.fromCoroutine(self.follower.live())
        self.step(0)
        self.node.refusals = [(401, "not authorized")]
        self.step(3)
        self.failureResultOf(following, Rejected)

    def test_comments(self) -> None:
        """Comments are remarks, except keepalives."""
        self.node.streams = [Stream(b":\n\n: 5 messages are gone\n\n", OPEN)]
        self.live()
        self.assertEqual(["5 messages are gone"], self.remarks)
        self.assertEqual([], self.shown())

    def test_numbered_later(self) -> None:
        """A message that was shown without a number is not shown again with one."""
        line = b"data: T app[web.1]: 2\n\n"
        self.node.streams = [Stream(messages(1) + line, CUT), Stream(messages(2, 3), OPEN)]
        self.live()
        self.assertEqual(["1", "2", "3"], self.shown())

    def test_cut_before_there_was_a_number(self) -> None:
        """The recent lines are read again, and shown ones are not shown twice."""
        lines = [b"data: T app[web.1]: %d\n\n" % number for number in (1, 2)]
        self.node.streams = [Stream(lines[0], CUT), Stream(b"".join(lines), OPEN)]
        self.live()
        self.assertEqual(["1", "2"], self.shown())

    def test_equal_messages(self) -> None:
        """Over one connection, equal messages are all shown."""
        line = b"data: T app[web.1]: 2\n\n"
        self.node.streams = [Stream(line + line + messages(2, 2), OPEN)]
        self.live()
        self.assertEqual(["2"] * 4, self.shown())

    def test_interrupted_at_any_moment(self) -> None:
        """An interruption during a request ends the command without another attempt."""
        for moments in range(12):
            asked = self.net.asked
            following = Deferred.fromCoroutine(self.follower.live())
            for _ in range(moments):
                self.net.flush()
            following.cancel()
            self.failureResultOf(following, CancelledError)
            self.step(1)
            self.assertLessEqual(self.net.asked, asked + 2)

    def test_interrupted(self) -> None:
        """An interruption closes the connection."""
        self.node.streams = [Stream(messages(1), OPEN)]
        following = Deferred.fromCoroutine(self.follower.live())
        self.step(0)
        following.cancel()
        self.failureResultOf(following, CancelledError)
        self.step(1)
        self.assertEqual([], self.net.connections)
