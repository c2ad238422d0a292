"""What a session's URL answers (PROTOCOL §7)."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from logplex.interfaces import StoreAway
from logplex.model.values import NO_REDIS, NO_TAIL
from logplex.settings import Limits
from logplex.syslog.inner import tail_lines
from logplex.tails import view
from logplex.tails.view import event
from tests.doubles.interfaces import DictConfigStore
from tests.doubles.session_node import (
    NOW,
    NOW_TEXT,
    SESSION,
    Connection,
    SessionNode,
    SlowConnection,
    line,
)
from tests.doubles.tails import HeldSpool, cooked

HISTORY_IS_AWAY = b"Warning: log history temporarily unavailable."
L15 = NOW_TEXT + b" logplex[1]: Error L15 (Tail buffer temporarily unavailable)\n"
GAP = NOW_TEXT + b" logplex[1]: Some messages may be missing here.\n"
L20 = NOW_TEXT + (
    b" Logplex: Error L20 (Tail sessions forbidden) "
    b"Tail sessions for this app are forbidden due to log volume.\n"
)


class PreparedStore(DictConfigStore):
    """Answers as the test says."""

    def __init__(self, answer: Deferred[bytes | None]) -> None:
        super().__init__(Clock())
        self._answer = answer

    def get_session(self, session_id: str) -> Deferred[bytes | None]:
        return self._answer


class HistoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.node = SessionNode()

    def test_the_newest_lines_oldest_first_and_then_the_end(self) -> None:
        self.node.append(b"one", b"two", b"three")
        connection = self.node.open(num="2")
        answer = connection.answer()
        self.assertEqual((200, line(b"two") + line(b"three")), (answer.status, answer.body))
        self.assertTrue(answer.is_whole)
        self.assertTrue(connection.is_closed)

    def test_an_empty_channel(self) -> None:
        answer = self.node.open().answer()
        self.assertEqual((200, b"", True), (answer.status, answer.body, answer.is_whole))

    def test_a_hundred_lines_where_nothing_else_is_said(self) -> None:
        self.node.append(*[b"%d" % number for number in range(150)])
        self.assertEqual(
            b"".join(line(b"%d" % number) for number in range(50, 150)), self.node.open().body
        )

    def test_a_message_that_ends_in_lf_gets_no_second_one(self) -> None:
        self.node.append(b"one\n")
        self.assertEqual(line(b"one"), self.node.open().body)

    def test_num_counts_lines_after_the_filters(self) -> None:
        self.node.append(b"one", b"two", ps=b"web.1")
        self.node.append(b"three", ps=b"webber.1")
        self.assertEqual(line(b"one") + line(b"two"), self.node.open(num=2, ps="web").body)

    def test_source(self) -> None:
        self.node.append(b"one")
        self.node.append(b"two", source=b"heroku")
        self.assertEqual(line(b"two", source=b"heroku"), self.node.open(source="heroku").body)

    def test_what_cannot_be_parsed_is_left_out_and_counted(self) -> None:
        self.node.spool.append("app-1", [b"<42> blafasel", cooked(b"one")])
        self.assertEqual(line(b"one"), self.node.open(num=2, source="app").body)
        self.assertEqual(1, self.node.counters.tail_unparsable)

    def test_a_long_history_goes_out_as_the_client_reads(self) -> None:
        text = b"x" * 10_000
        self.node.append(*[text] * 100)
        self.node.put_session()
        connection = self.node.get(connection=SlowConnection(self.node.site))
        size = len(connection.body)
        self.assertLess(size, 100_000)
        for _ in range(20):
            if connection.is_closed:
                break
            connection.resume()
            self.assertLess(len(connection.body) - size, 100_000)
            size = len(connection.body)
        self.assertEqual(line(text) * 100, connection.body)

    def test_canary_fetch_shows_the_history_and_never_tails(self) -> None:
        self.node.append(b"one")
        self.node.put_session(tail=True)
        answer = self.node.get(path=b"/v2/canary-fetch/" + SESSION.encode()).answer()
        self.assertEqual((line(b"one"), True), (answer.body, answer.is_whole))


class HeaderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.node = SessionNode()

    def test_plain_text(self) -> None:
        headers = self.node.open().answer().headers
        del headers[b"date"]
        self.assertEqual(
            {
                b"content-type": b"text/html",
                b"x-content-type-options": b"nosniff",
                b"content-security-policy": b"sandbox; default-src 'none'",
                b"cache-control": b"no-store",
                b"connection": b"close",
                b"transfer-encoding": b"chunked",
            },
            headers,
        )

    def test_events(self) -> None:
        self.node.put_session()
        for accept in (
            b"Accept: text/event-stream",
            b"Accept: text/html;q=0.5, Text/Event-Stream ;q=1",
            b"Accept: text/html\r\nAccept: text/event-stream",
        ):
            headers = self.node.get(accept).answer().headers
            self.assertEqual(b"text/event-stream", headers[b"content-type"])
            self.assertEqual(b"nosniff", headers[b"x-content-type-options"])

    def test_never_compressed(self) -> None:
        self.node.append(b"one")
        self.node.put_session()
        answer = self.node.events(b"Accept-Encoding: gzip, deflate").answer()
        self.assertNotIn(b"content-encoding", answer.headers)
        self.assertIn(line(b"one"), answer.body)

    def test_discarded_history(self) -> None:
        self.node.flag(NO_REDIS)
        self.assertEqual(
            b"Warning: log history discarded due to excessive volume.",
            self.node.open().answer().headers[b"x-heroku-warning"],
        )

    def test_http_1_0_gets_lines_until_the_connection_closes(self) -> None:
        self.node.append(b"one")
        self.node.put_session()
        connection = self.node.get(version=b"HTTP/1.0")
        answer = connection.answer()
        self.assertNotIn(b"transfer-encoding", answer.headers)
        self.assertEqual((line(b"one"), True), (answer.body, connection.is_closed))

    def test_head(self) -> None:
        self.node.append(b"one")
        self.node.put_session(tail=True)
        connection = self.node.get(b"Accept: text/event-stream", method=b"HEAD")
        answer = connection.answer()
        self.assertEqual((200, b""), (answer.status, answer.body))
        self.assertEqual(b"text/event-stream", answer.headers[b"content-type"])
        self.assertTrue(connection.is_closed)


class RefusalTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.node = SessionNode()

    def refused(
        self, status: int, body: bytes, path: bytes = b"/sessions/" + SESSION.encode()
    ) -> None:
        answer = self.node.get(path=path).answer()
        self.assertEqual((status, body), (answer.status, answer.body))

    def test_unknown(self) -> None:
        self.refused(404, b"Not found")

    def test_malformed_ids_are_not_looked_up(self) -> None:
        self.node.store.away = True
        self.refused(404, b"Not found", b"/sessions/x")

    def test_expired(self) -> None:
        self.node.put_session(lifetime_s=360.0)
        self.node.clock.advance(360)
        self.refused(404, b"Not found")

    def test_many_times_while_it_lives(self) -> None:
        self.node.append(b"one")
        self.node.put_session(lifetime_s=360.0)
        for _ in range(3):
            self.assertEqual(line(b"one"), self.node.get().body)
            self.node.clock.advance(100)

    def test_query_parameters_are_ignored(self) -> None:
        self.node.put_session()
        path = b"/sessions/" + SESSION.encode() + b"?srv=1&tail=true"
        self.refused(200, b"", path)

    def test_the_channel_is_gone(self) -> None:
        self.node.put_session()
        self.node.delete()
        self.refused(404, b"Not found")

    def test_a_body_without_channel(self) -> None:
        self.node.store.put_session(SESSION, b"{}", 360.0)
        self.refused(400, b"'channel_id' missing")

    def test_the_store_is_away(self) -> None:
        self.node.put_session()
        self.node.store.away = True
        self.refused(503, b"Logs are temporarily unavailable")

    def test_the_spool_is_away_and_no_tail_was_asked_for(self) -> None:
        self.node = SessionNode(HeldSpool(is_away=True))
        self.node.put_session()
        answer = self.node.get().answer()
        self.assertEqual((200, b""), (answer.status, answer.body))
        self.assertEqual(HISTORY_IS_AWAY, answer.headers[b"x-heroku-warning"])

    def test_what_can_be_had_while_the_spool_is_away(self) -> None:
        self.node = SessionNode(HeldSpool(is_away=True, waiting=[cooked(b"one"), cooked(b"two")]))
        self.node.put_session(num=1)
        self.refused(200, line(b"two"))

    def test_the_node_starts(self) -> None:
        self.node.put_session()
        self.node.registry.ready = False
        self.refused(503, b"Logs are temporarily unavailable")

    def test_tails_are_denied(self) -> None:
        self.node.rods.deny_tail_sessions = True
        self.node.put_session(tail=True)
        self.refused(503, b"Tail sessions are denied")
        self.node.put_session()
        self.refused(200, b"")

    def test_too_many_histories_wait_for_their_readers(self) -> None:
        self.node = SessionNode(limits=Limits(tail_history_bytes=500_000))
        self.node.append(*[b"x" * 10_000] * 100)
        slow = SlowConnection(self.node.site)
        self.node.put_session()
        self.node.get(connection=slow)
        self.refused(503, b"Logs are temporarily unavailable")
        slow.leave()
        self.assertEqual(200, self.node.get().answer().status)

    def test_a_bug_is_a_500_and_is_logged_without_the_url(self) -> None:
        self.node.put_session()
        self.node.sessions.store = PreparedStore(fail(ZeroDivisionError()))
        self.refused(500, b"Internal Server Error")
        (logged,) = self.flushLoggedErrors(ZeroDivisionError)
        self.assertNotIn(SESSION, str(logged))

    def test_a_client_that_leaves_before_the_session_is_found(self) -> None:
        found: Deferred[bytes | None] = Deferred()
        self.node.sessions.store = PreparedStore(found)
        connection = self.node.get()
        connection.leave()
        found.callback(b'{"channel_id": "app-1", "tail": true}')
        self.assertEqual(b"", connection.transport.value())
        self.assertEqual(0, sum(sample.value for sample in self.node.tails.samples()))

    def test_a_failure_after_the_client_has_left(self) -> None:
        found: Deferred[bytes | None] = Deferred()
        self.node.sessions.store = PreparedStore(found)
        connection = self.node.get()
        connection.leave()
        found.errback(StoreAway("away"))
        self.assertEqual(b"", connection.transport.value())


class TailTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.node = SessionNode()

    def test_live_lines_follow_the_history(self) -> None:
        self.node.append(b"one")
        connection = self.node.open(tail=True)
        self.node.append(b"two")
        self.node.clock.advance(1)
        self.node.append(b"three")
        answer = connection.answer()
        self.assertEqual(line(b"one") + line(b"two") + line(b"three"), answer.body)
        self.assertFalse(answer.is_whole)

    def test_the_first_after_a_quiet_moment_goes_at_once_and_others_in_company(self) -> None:
        connection = self.node.open(tail=True)
        for text in (b"one", b"two", b"three"):
            self.node.append(text)
        self.assertEqual(line(b"one"), connection.body)
        self.node.clock.advance(0.02)
        self.assertEqual(line(b"one") + line(b"two") + line(b"three"), connection.body)

    def test_many_readers_wait_a_little_longer(self) -> None:
        self.node.put_session(tail=True)
        connections = [self.node.get() for _ in range(200)]
        for text in (b"one", b"two"):
            self.node.append(text)
        self.node.clock.advance(0.019)
        self.assertEqual(line(b"one"), connections[-1].body)
        self.node.clock.advance(0.002)
        self.assertEqual(line(b"one") + line(b"two"), connections[-1].body)

    def test_no_num_no_history(self) -> None:
        self.node.append(b"one")
        connection = self.node.open(tail=True, num=0)
        self.node.append(b"two")
        self.assertEqual(line(b"two"), connection.body)

    def test_filters(self) -> None:
        connection = self.node.open(tail=True, source="app", ps="web")
        self.node.append(b"one", source=b"heroku")
        self.node.append(b"two", ps=b"webber.1")
        self.node.append(b"three", ps=b"web.2")
        self.node.clock.advance(1)
        self.assertEqual(line(b"three", ps=b"web.2"), connection.body)

    def test_what_cannot_be_parsed_is_left_out_and_counted(self) -> None:
        connection = self.node.open(tail=True)
        self.node.spool.append("app-1", [b"<42> blafasel", cooked(b"one")])
        self.assertEqual(line(b"one"), connection.body)
        self.assertEqual(1, self.node.counters.tail_unparsable)

    def test_events_have_the_messages_numbers(self) -> None:
        self.node.append(b"one")
        self.node.put_session(tail=True)
        connection = self.node.events()
        self.node.append(b"two\nid: 7\n")
        first = NOW * 1_000_000 + 1
        self.assertEqual(
            b"id: %d\ndata: %b\nid: %d\ndata: %bdata: id: 7\n\n"
            % (first, line(b"one"), first + 1, line(b"two")),
            connection.body,
        )

    def test_a_tail_goes_on_after_the_last_event_seen(self) -> None:
        self.node.append(b"one", b"two", b"three")
        self.node.put_session(tail=True, num=1)
        first = NOW * 1_000_000 + 1
        connection = self.node.events(b"Last-Event-ID: %d" % first)
        self.node.append(b"four")
        lines = [line(text) for text in (b"two", b"three", b"four")]
        self.assertEqual(
            b"".join(b"id: %d\ndata: %b\n" % (first + 1 + n, each) for n, each in enumerate(lines)),
            connection.body,
        )

    def test_a_malformed_last_event_id_is_as_if_absent(self) -> None:
        self.node.append(b"one", b"two")
        self.node.put_session(num=1)
        for text in (b"x", b"-1", b"", b"9" * 30):
            body = self.node.events(b"Last-Event-ID: " + text).body
            self.assertEqual(1, body.count(b"data:"))

    def test_plain_text_knows_no_last_event_id(self) -> None:
        self.node.append(b"one", b"two")
        self.node.put_session()
        body = self.node.get(b"Last-Event-ID: %d" % (NOW * 1_000_000 + 1)).body
        self.assertEqual(line(b"one") + line(b"two"), body)

    def test_a_comment_says_how_many_are_gone(self) -> None:
        self.node.append(*[b"x"] * 2_000)
        self.node.put_session(num=1)
        connection = self.node.events(b"Last-Event-ID: %d" % (NOW * 1_000_000 + 10))
        self.assertTrue(connection.body.startswith(b": 490 messages are gone\n\nid: "))
        self.assertEqual(1_500, connection.body.count(b"\ndata:"))

    def test_events_end_after_the_history_where_no_tail_was_asked_for(self) -> None:
        self.node.append(b"one")
        self.node.put_session()
        self.assertTrue(self.node.events().answer().is_whole)


class SilenceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.node = SessionNode()
        self.node.put_session(tail=True)

    def test_a_comment_every_15_s_of_silence(self) -> None:
        connection = self.node.events()
        self.node.clock.advance(14.9)
        self.assertEqual(b"", connection.body)
        self.node.clock.advance(0.1)
        self.assertEqual(b":\n\n", connection.body)
        self.node.clock.advance(15)
        self.assertEqual(b":\n\n" * 2, connection.body)

    def test_silence_begins_after_the_last_message(self) -> None:
        connection = self.node.events()
        self.node.clock.advance(10)
        self.node.append(b"one")
        size = len(connection.body)
        self.node.clock.advance(14.9)
        self.assertEqual(size, len(connection.body))
        self.node.clock.advance(0.1)
        self.assertTrue(connection.body.endswith(b"\n:\n\n"))

    def test_each_reader_for_himself(self) -> None:
        first = self.node.events()
        self.node.clock.advance(5)
        second = self.node.events()
        self.node.clock.advance(10)
        self.assertEqual((b":\n\n", b""), (first.body, second.body))
        self.node.clock.advance(5)
        self.assertEqual((b":\n\n", b":\n\n"), (first.body, second.body))

    def test_plain_text_hears_nothing(self) -> None:
        self.node.append(b"one", source=b"other")
        self.node.put_session(tail=True, source="app")
        connection = self.node.get()
        self.node.clock.advance(100)
        self.assertEqual(b"", connection.body)

    def test_it_tells_how_far_a_reader_has_come_who_wants_none_of_it(self) -> None:
        self.node.put_session(tail=True, source="app")
        self.node.append(b"one")
        connection = self.node.events()
        shown = connection.body
        self.node.append(b"two", b"three", source=b"other")
        self.node.clock.advance(15)
        position = b"id: %d\n:\n\n" % (NOW * 1_000_000 + 3)
        self.assertEqual(position, connection.body.removeprefix(shown))

    def test_so_does_the_beginning_where_there_is_nothing_to_show(self) -> None:
        self.node.put_session(tail=True, source="app")
        self.node.append(b"one", b"two", source=b"other")
        connection = self.node.events()
        self.assertEqual(b"id: %d\n:\n\n" % (NOW * 1_000_000 + 2), connection.body)

    def test_not_for_who_is_behind(self) -> None:
        self.node.append(b"one")
        connection = self.node.events()
        connection.pause()
        self.node.append(b"two")
        self.node.clock.advance(15)
        size = len(connection.body)
        self.node.clock.advance(15)
        self.assertEqual(size, len(connection.body))

    def test_not_where_it_is_not_known(self) -> None:
        """Who began while the spool was away has not seen all that has a number by now."""
        spool = HeldSpool()
        self.node = SessionNode(spool)
        self.node.put_session(tail=True, source="other")
        self.node.get()
        spool.append("app-1", [cooked(b"one")])
        spool.interrupt()
        connection = self.node.events(b"Last-Event-ID: 0")
        size = len(connection.body)
        spool.come_back()
        self.node.clock.advance(15)
        self.assertEqual(b":\n\n", connection.body[size:])

    def test_nothing_for_a_reader_who_has_no_room(self) -> None:
        connection = self.node.events()
        connection.pause()
        self.node.clock.advance(100)
        self.assertEqual(b"", connection.body)

    def test_nobody_is_left_over(self) -> None:
        self.node.events().leave()
        self.node.clock.advance(15)
        self.assertEqual([], self.node.clock.getDelayedCalls())


class SlowReaderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.node = SessionNode(limits=Limits(tail_buffer_messages=10, tail_buffer_bytes=10_000))

    def tail(self, **fields: object) -> None:
        self.connection = self.node.open(tail=True, **fields)

    def l11(self, dropped: int, since: bytes = NOW_TEXT) -> bytes:
        return (
            b" logplex[1]: Error L11 (Tail buffer overflow) -> "
            b"This tail session dropped %d messages since %b.\n" % (dropped, since)
        )

    def append(self, *texts: bytes, source: bytes = b"app") -> None:
        self.node.append(*texts, source=source)
        self.node.clock.advance(1)

    def test_a_slow_reader_loses_the_oldest_and_is_told_in_their_place(self) -> None:
        self.tail()
        self.append(b"first")
        self.connection.pause()
        self.append(*[b"%d" % number for number in range(13)])
        since = b"2027-01-15T08:00:01.000000+00:00"
        self.connection.resume()
        rest = b"".join(line(b"%d" % number) for number in range(3, 13))
        told = b"2027-01-15T08:00:02.000000+00:00" + self.l11(3, since.replace(b"01.0", b"02.0"))
        self.assertEqual(line(b"first") + told + rest, self.connection.body)
        self.assertEqual(3, self.node.counters.tail_dropped)

    def test_every_loss_is_told_once(self) -> None:
        self.tail()
        for _ in range(2):
            self.connection.pause()
            self.append(*[b"x"] * 12)
            self.connection.resume()
        self.append(b"last")
        self.assertEqual(2, self.connection.body.count(b"dropped 2 messages"))
        self.assertEqual(2, self.connection.body.count(b"L11"))

    def test_who_keeps_up_is_told_nothing(self) -> None:
        self.tail()
        for _ in range(5):
            self.connection.pause()
            self.append(*[b"x"] * 10)
            self.connection.resume()
        self.assertEqual(line(b"x") * 50, self.connection.body)

    def test_bounded_by_bytes_too(self) -> None:
        self.tail()
        self.connection.pause()
        self.append(*[b"x" * 4_000] * 5)
        self.connection.resume()
        self.assertEqual(2, self.connection.body.count(b"x" * 4_000))
        self.assertIn(self.l11(3)[:-40], self.connection.body)

    def test_only_what_the_filters_let_through_is_counted(self) -> None:
        self.tail(source="app")
        self.connection.pause()
        self.append(*[b"x"] * 100, source=b"other")
        self.append(*[b"x"] * 11)
        self.append(*[b"x"] * 100, source=b"other")
        self.connection.resume()
        self.assertIn(b"dropped 1 messages", self.connection.body)
        self.assertEqual(10, self.connection.body.count(line(b"x")))

    def test_it_is_told_whatever_the_filters_are(self) -> None:
        self.tail(source="app", ps="web")
        self.connection.pause()
        self.append(*[b"x"] * 11)
        self.connection.resume()
        self.assertIn(b"logplex[1]: Error L11", self.connection.body)

    def test_to_readers_of_events_it_is_an_event_without_id(self) -> None:
        self.node.put_session(tail=True)
        self.connection = self.node.events()
        self.connection.pause()
        self.append(*[b"x"] * 11)
        self.connection.resume()
        first, second, *_ = self.connection.body.split(b"\n\n")
        self.assertTrue(first.startswith(b"data: 2027"), first)
        self.assertIn(b"dropped 1 messages", first)
        self.assertTrue(second.startswith(b"id: "))

    def test_nothing_is_formatted_for_a_paused_reader(self) -> None:
        formatted: list[int] = []

        def counted(messages: list[bytes], *filters: bytes | None) -> object:
            formatted.append(len(messages))
            return tail_lines(messages, *filters)

        self.patch(view, "tail_lines", counted)
        self.tail()
        self.connection.pause()
        self.append(b"x", b"x")
        self.assertEqual([], formatted)
        self.connection.resume()
        self.assertEqual([2], formatted)

    def test_equal_filters_are_formatted_once(self) -> None:
        formatted: list[int] = []

        def counted(messages: list[bytes], *filters: bytes | None) -> object:
            formatted.append(len(messages))
            return tail_lines(messages, *filters)

        self.patch(view, "tail_lines", counted)
        self.tail()
        others = [self.node.get(), self.node.events(), self.node.events()]
        others[0].pause()
        self.append(b"x", b"x")
        others[0].resume()
        self.assertEqual([2], formatted)
        self.assertEqual(self.connection.body, others[0].body)

    def test_a_reader_who_reads_gets_more_time(self) -> None:
        """Not he is too slow, but the node too busy to write as much as comes."""
        self.read_a_little_of(150)
        for _ in range(10):
            self.connection.resume()
        self.assertEqual(line(b"x" * 1_000) * 151, self.connection.body)

    def test_but_not_without_bound(self) -> None:
        self.read_a_little_of(1_000)
        self.connection.resume()
        self.assertIn(b"L11", self.connection.body)

    def read_a_little_of(self, messages: int) -> None:
        """A reader whose transport takes 64 KiB at a time gets so many messages of a kB at once."""
        self.node.put_session(tail=True)
        self.connection = self.node.get(connection=SlowConnection(self.node.site))
        self.node.append(b"x" * 1_000)
        self.node.append(*[b"x" * 1_000] * messages)
        self.node.clock.advance(0.02)
        self.connection.resume()
        self.node.clock.advance(0.02)

    def test_what_comes_in_one_go_waits_for_the_transport(self) -> None:
        """A reader who reads is not slow because much came before the kernel could take it."""
        self.node.put_session(tail=True)
        self.connection = self.node.get(connection=SlowConnection(self.node.site))
        self.node.append(*[b"x" * 1_000] * 200)
        for _ in range(10):
            self.connection.resume()
        self.assertEqual(line(b"x" * 1_000) * 200, self.connection.body)


class EndTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.node = SessionNode()
        self.node.append(b"one")

    def assert_ended(self, connection: Connection) -> None:
        self.assertTrue(connection.answer().is_whole)
        self.assertTrue(connection.is_closed)
        self.assertEqual(0, sum(sample.value for sample in self.node.tails.samples()))

    def test_no_tail_shows_the_history_then_l20_then_the_end(self) -> None:
        self.node.flag(NO_TAIL)
        connection = self.node.open(tail=True)
        self.assertEqual(line(b"one") + L20, connection.body)
        self.assert_ended(connection)

    def test_no_tail_says_nothing_to_those_who_want_none(self) -> None:
        self.node.flag(NO_TAIL)
        self.assertEqual(line(b"one"), self.node.open().body)

    def test_no_tail_ends_open_tails(self) -> None:
        connection = self.node.open(tail=True)
        self.node.flag(NO_TAIL)
        self.assertEqual(line(b"one") + L20, connection.body)
        self.assert_ended(connection)

    def test_other_flags_do_not(self) -> None:
        connection = self.node.open(tail=True)
        self.node.flag(NO_REDIS)
        self.assertFalse(connection.answer().is_whole)

    def test_the_channel_is_deleted(self) -> None:
        connection = self.node.open(tail=True)
        self.node.append(b"two")
        self.node.append(b"three")
        self.node.delete()
        self.assertEqual(line(b"one") + line(b"two") + line(b"three"), connection.body)
        self.assert_ended(connection)

    def test_an_operator_ends_all_tails(self) -> None:
        connections = [self.node.open(tail=True), self.node.events()]
        self.node.tails.end_all()
        for connection in connections:
            self.assert_ended(connection)

    def test_the_client_leaves(self) -> None:
        connection = self.node.open(tail=True)
        connection.leave()
        self.node.append(b"two")
        self.assertEqual(line(b"one"), connection.body)
        self.assertEqual(0, sum(sample.value for sample in self.node.tails.samples()))

    def test_a_paused_reader_too(self) -> None:
        connection = self.node.open(tail=True)
        connection.pause()
        self.node.tails.end_all()
        self.assert_ended(connection)

    def test_the_node_stops(self) -> None:
        connection = self.node.open(tail=True)
        self.node.append(b"two")
        self.node.append(b"three")
        stopped = Deferred.fromCoroutine(self.node.tails.stop())
        self.assertEqual(line(b"one") + line(b"two") + line(b"three"), connection.body)
        self.assert_ended(connection)
        self.node.clock.pump([0.1] * 11)
        self.successResultOf(stopped)
        self.assertEqual(503, self.node.get().answer().status)

    def test_a_channel_deleted_while_its_history_is_read(self) -> None:
        spool = HeldSpool(holds_reads=True)
        self.node = SessionNode(spool)
        connection = self.node.open(tail=True)
        self.node.delete()
        spool.answer(spool.reads[0])
        self.assertEqual((404, b"Not found"), (connection.answer().status, connection.body))

    def test_samples(self) -> None:
        self.node.open(tail=True)
        self.node.events()
        self.assertEqual(
            {"logplex_tails": 2, "logplex_tail_channels": 1},
            {sample.name: sample.value for sample in self.node.tails.samples()},
        )


class AwayTests(SynchronousTestCase):
    """The spool goes away while a channel is tailed."""

    def setUp(self) -> None:
        self.spool = HeldSpool()
        self.node = SessionNode(self.spool)
        self.connection = self.node.open(tail=True)
        (self.tailed,) = self.spool.followers

    def test_readers_are_told_and_messages_go_on(self) -> None:
        self.spool.interrupt()
        self.spool.tell_unnumbered([cooked(b"one")])
        self.assertEqual(L15 + line(b"one"), self.connection.body)

    def test_coming_back_whole_is_not_told(self) -> None:
        self.spool.interrupt()
        self.spool.come_back()
        self.assertEqual(L15, self.connection.body)

    def test_that_messages_may_be_missing_is_told_in_its_place(self) -> None:
        self.spool.append("app-1", [cooked(b"one")])
        self.tailed.missed()
        self.spool.append("app-1", [cooked(b"two")])
        self.node.clock.advance(1)
        self.assertEqual(line(b"one") + GAP + line(b"two"), self.connection.body)

    def test_a_jump_of_the_numbers_alone_is_not_told(self) -> None:
        self.spool.append("app-1", [cooked(b"one")])
        self.spool.last = 1_000_000
        self.spool.append("app-1", [cooked(b"two")])
        self.node.clock.advance(1)
        self.assertEqual(line(b"one") + line(b"two"), self.connection.body)

    def test_numbers_that_begin_again_are_shown_to_everybody(self) -> None:
        self.spool.last = 1_000
        self.spool.append("app-1", [cooked(b"one")])
        slow, events = self.node.get(), self.node.events()
        slow.pause()
        self.tailed.missed()
        self.spool.last = 4
        self.spool.append("app-1", [cooked(b"two")])
        self.spool.append("app-1", [cooked(b"three")])
        self.node.clock.advance(1)
        slow.resume()
        texts = line(b"one") + GAP + line(b"two") + line(b"three")
        self.assertEqual((texts, texts), (self.connection.body, slow.body))
        self.assertEqual(event(6, line(b"three")), events.body.split(b"\n\n")[-2] + b"\n\n")

    def test_a_new_tail_gets_what_can_be_had_and_goes_on(self) -> None:
        self.spool.append("app-1", [cooked(b"before")])
        self.spool.interrupt()
        self.spool.tell_unnumbered([cooked(b"one")])
        answer = self.node.get()
        self.spool.tell_unnumbered([cooked(b"two")])
        self.node.clock.advance(1)
        self.assertEqual(200, answer.answer().status)
        self.assertEqual(HISTORY_IS_AWAY, answer.answer().headers[b"x-heroku-warning"])
        self.spool.come_back()
        self.spool.append("app-1", [cooked(b"three")])
        self.node.clock.advance(1)
        texts = [line(text) for text in (b"one", b"two", b"three")]
        self.assertEqual(L15 + b"".join(texts), answer.body)

    def test_the_first_tail_of_a_channel_too(self) -> None:
        self.node = SessionNode(HeldSpool(is_away=True, waiting=[cooked(b"one")]))
        connection = self.node.open(tail=True)
        self.assertEqual(L15 + line(b"one"), connection.body)
        self.assertFalse(connection.answer().is_whole)

    def test_who_resumes_is_told_that_messages_may_be_missing(self) -> None:
        """Some of what can be had has been shown to him, perhaps, when it had no number yet."""
        self.spool.interrupt()
        self.spool.tell_unnumbered([cooked(b"one")])
        connection = self.node.events(b"Last-Event-ID: 1")
        self.spool.tell_unnumbered([cooked(b"two")])
        self.node.clock.advance(1)
        body = b": some messages may be missing\n\n" + event(None, L15) + event(None, line(b"two"))
        self.assertEqual(body, connection.body)

    def test_the_history_ends_at_the_moment_of_its_answer(self) -> None:
        """Messages without numbers that came before are in it, and are not shown twice."""
        self.spool.holds_reads = True
        self.spool.append("app-1", [cooked(b"one")])
        connection = self.node.get()
        self.spool.interrupt()
        self.spool.tell_unnumbered([cooked(b"two")])
        self.spool.come_back()
        self.spool.answer(self.spool.reads[0])
        self.assertEqual(line(b"one") + line(b"two"), connection.body)

    def test_a_history_that_holds_what_came_while_it_was_read(self) -> None:
        """The channel is numbered in two places."""
        self.spool.holds_reads = True
        self.spool.append("app-1", [cooked(b"one")])
        connection = self.node.events(b"Last-Event-ID: 0")
        self.spool.append("app-1", [cooked(b"two")])
        self.spool.answer(self.spool.reads[0], moving=True)
        self.tailed.received(None, [cooked(b"three, with a lower number")])
        self.node.clock.advance(1)
        texts = [b"one", b"two", b"three, with a lower number"]
        shown = [event(n, line(text)) for n, text in zip((1, 2, None), texts, strict=True)]
        comment = b": some messages may be missing\n\n"
        self.assertEqual(comment + b"".join(shown), connection.body)

    def test_a_history_that_cannot_be_read_although_messages_come(self) -> None:
        self.spool.holds_reads = True
        connection = self.node.get()
        self.spool.append("app-1", [cooked(b"one")])
        self.spool.lose(self.spool.reads[0])
        self.spool.append("app-1", [cooked(b"two")])
        self.node.clock.advance(1)
        self.assertEqual(HISTORY_IS_AWAY, connection.answer().headers[b"x-heroku-warning"])
        self.assertEqual(line(b"two"), connection.body)
