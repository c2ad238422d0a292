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
            Api(Asker(runtime.client, self.clock), "http://localhost:8002"),
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
        """Let so much time pass, and everything arrive that was written."""
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
        """One is read nevertheless: its number is the place where the live lines begin."""
        self.node.streams = [Stream(messages(7)), Stream(messages(8), OPEN)]
        self.successResultOf(self.history(0))
        self.assertEqual([], self.shown())
        self.live()
        self.assertEqual(["8"], self.shown())
        self.assertEqual((b"/sessions/2", "7"), self.node.asked[-1])

    def test_cut(self) -> None:
        """It goes on where it was cut."""
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
        """The first time it is told at once."""
        self.net.servers.clear()
        self.failureResultOf(self.history(), Unreachable)

    def test_session_is_unreachable(self) -> None:
        """A node that was not told how clients reach it: it is said whose mistake that is."""
        del self.net.servers[8001]
        failed = self.failureResultOf(self.history(), Unreachable).value
        self.assertIn("http://localhost:8001 cannot be reached", failed.message)
        self.assertIn("[urls] api", failed.message)
        self.assertNotIn("sessions/", failed.message)

    def test_no_events(self) -> None:
        """Something else answers there: a proxy's page, an Erlang node."""
        self.node.streams = [Stream(b"T app[web]: x\n", headers={"Content-Type": "text/html"})]
        self.failureResultOf(self.history(), Rejected)

    def test_sessions_url_is_secret(self) -> None:
        self.node.streams = [Stream(b"Not\nfound", status=404, headers={})]
        failed = self.failureResultOf(self.history(), NotFound).value
        self.assertEqual("Not found", failed.message)


class FilteredTests(FollowCase):
    """Filters that a session has not."""

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
        """Also where nothing follows them that the filters let through."""
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
    """The lines that come."""

    def test_cut(self) -> None:
        """Once more the same session, from the last number on."""
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
        """The node says how far a stream has come that shows nothing."""
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
        """What is not whole did not come."""
        self.node.streams = [
            Stream(messages(1) + b"id: 2\ndata: T app[web.1]: 2", CUT),
            Stream(messages(2), OPEN),
        ]
        self.live()
        self.assertEqual(["1", "2"], self.shown())

    def test_session_has_expired(self) -> None:
        """A new one goes on from the same place."""
        self.node.streams = [
            Stream(messages(1), CUT),
            Stream(b"Not found", status=404, headers={}),
            Stream(messages(2), OPEN),
        ]
        self.live()
        self.assertEqual(["1", "2"], self.shown())
        self.assertEqual([(b"/sessions/1", "1"), (b"/sessions/2", "1")], self.node.asked[1:])

    def test_empty_history(self) -> None:
        """Where nothing came yet, all that is there after a cut is new."""
        self.node.streams = [Stream(), Stream(then=CUT), Stream(messages(1, 2), OPEN)]
        self.successResultOf(self.history(1))
        self.live()
        self.assertEqual(["1", "2"], self.shown())
        self.assertEqual(str(EVERYTHING), self.node.made[1]["num"])

    def test_node_restarts(self) -> None:
        """It is waited for; that is told once."""
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
        """For a whole night; it is asked once in ten seconds at most."""
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
        """A connection without a sign of life is dead; with one it is not."""
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
        """A channel that cannot be tailed is not asked again."""
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
        """What is told beside the lines, without signs of life."""
        self.node.streams = [Stream(b":\n\n: 5 messages are gone\n\n", OPEN)]
        self.live()
        self.assertEqual(["5 messages are gone"], self.remarks)
        self.assertEqual([], self.shown())

    def test_numbered_later(self) -> None:
        """What was shown while its shard was away does not come again with a number."""
        line = b"data: T app[web.1]: 2\n\n"
        self.node.streams = [Stream(messages(1) + line, CUT), Stream(messages(2, 3), OPEN)]
        self.live()
        self.assertEqual(["1", "2", "3"], self.shown())

    def test_cut_before_there_was_a_number(self) -> None:
        """The recent lines are read once more, and what was shown of them is not shown again."""
        lines = [b"data: T app[web.1]: %d\n\n" % number for number in (1, 2)]
        self.node.streams = [Stream(lines[0], CUT), Stream(b"".join(lines), OPEN)]
        self.live()
        self.assertEqual(["1", "2"], self.shown())

    def test_equal_messages(self) -> None:
        """Over one connection everything is as it is told."""
        line = b"data: T app[web.1]: 2\n\n"
        self.node.streams = [Stream(line + line + messages(2, 2), OPEN)]
        self.live()
        self.assertEqual(["2"] * 4, self.shown())

    def test_interrupted_at_any_moment(self) -> None:
        """Also while it asks for something: nothing is tried again."""
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
        """The connection is closed."""
        self.node.streams = [Stream(messages(1), OPEN)]
        following = Deferred.fromCoroutine(self.follower.live())
        self.step(0)
        following.cancel()
        self.failureResultOf(following, CancelledError)
        self.step(1)
        self.assertEqual([], self.net.connections)
