# SPDX-License-Identifier: Apache-2.0

"""
The journal: what is kept, read, claimed, moved past and given up; ticks, full disks, restarts.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from logplex.journal import writer
from logplex.journal.backlog import Backlog
from logplex.journal.file import IN_MEMORY, JournalFile
from logplex.journal.journal import Journal
from logplex.journal.values import (
    DEFAULT_BOUNDS,
    ROW_BYTES,
    ROW_MESSAGES,
    JournalAway,
    JournalBounds,
    JournalFull,
    JournalUnusable,
    Opened,
    Row,
)
from logplex.journal.writer import FRAME_LIFETIME_S
from tests.doubles.journal import (
    CountingReader,
    Disk,
    at_once,
    copy_of_crashed,
    opened_journal,
)

TICK_S = DEFAULT_BOUNDS.tick_s


def messages(*texts: str) -> list[bytes]:
    """Short messages; the journal does not care for their form."""
    return [text.encode() for text in texts]


class JournalTestCase(SynchronousTestCase):
    """A journal in memory on a disk that can be full."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.disk = Disk()
        self.journal = self.open(IN_MEMORY)
        self.reader = CountingReader()

    def open(self, path: str, bounds: JournalBounds = DEFAULT_BOUNDS) -> Journal:
        """Open a journal that is closed at the end of the test."""
        journal = opened_journal(path, self.clock, self.disk, bounds)
        self.addCleanup(lambda: self.successResultOf(Deferred.fromCoroutine(journal.close())))
        return journal

    def backlog(self, name: str = "1", channel: str = "app") -> Backlog:
        """A backlog of ``self.reader``."""
        return self.journal.backlog(name, channel, self.reader)

    def tick(self) -> None:
        """Let what waits be written."""
        self.clock.advance(TICK_S)

    def rows(self, backlog: Backlog, max_messages: int = ROW_MESSAGES) -> list[Row]:
        """Return what the backlog has now."""
        return self.successResultOf(backlog.read(max_messages))

    def finish(self, backlog: Backlog, rows: list[Row]) -> None:
        """Claim rows and be done with all of them."""
        self.successResultOf(backlog.claim(rows))
        for row in rows:
            backlog.advance(row, len(row.messages))
        backlog.release()


class AppendTests(JournalTestCase):
    def test_a_tick_of_a_channel_is_one_row(self) -> None:
        backlog = self.backlog()
        self.journal.append("app", messages("one", "two"))
        self.journal.append("app", messages("three"))
        self.tick()
        (row,) = self.rows(backlog)
        self.assertEqual(row.messages, tuple(messages("one", "two", "three")))
        self.assertEqual(row.at_s, self.clock.seconds())
        self.assertEqual(self.reader.wakes, 1)

    def test_nothing_is_there_before_the_tick(self) -> None:
        backlog = self.backlog()
        self.tick()
        self.journal.append("app", messages("one"))
        self.clock.advance(TICK_S * 0.9)
        self.assertEqual((self.rows(backlog), self.reader.wakes), ([], 0))

    def test_all_channels_are_one_transaction(self) -> None:
        self.backlog("1", "app")
        self.backlog("2", "web")
        self.tick()
        self.journal.append("app", messages("one"))
        self.journal.append("web", messages("two"))
        self.tick()
        self.assertEqual([row.channel for row in self.disk.transactions[-1].rows], ["app", "web"])
        self.assertFalse(self.disk.transactions[-1].waited)

    def test_a_row_is_at_most_one_batch(self) -> None:
        backlog = self.backlog()
        self.journal.append("app", [b"x"] * (ROW_MESSAGES + 1))
        self.journal.append("app", [b"y" * (ROW_BYTES // 2)] * 3)
        self.journal.append("app", [b"z" * (ROW_BYTES + 1)])
        self.tick()
        rows = (
            self.rows(backlog, 1 << 30)[:1]
            + self.successResultOf(backlog.read(1 << 30, 1 << 30))[1:]
        )
        self.assertEqual([len(row.messages) for row in rows], [ROW_MESSAGES, 2, 2, 1])

    def test_a_channel_without_backlog_is_not_kept(self) -> None:
        self.journal.append("other", messages("one"))
        self.tick()
        self.assertEqual(self.rows(self.backlog("1", "other")), [])

    def test_a_new_backlog_begins_at_the_end(self) -> None:
        first = self.backlog("1")
        self.journal.append("app", messages("one"))
        self.tick()
        second = self.backlog("2")
        self.journal.append("app", messages("two"))
        self.tick()
        self.assertEqual((first.messages, second.messages), (2, 1))
        self.assertEqual(self.rows(second)[0].messages, (b"two",))


class TakeTests(JournalTestCase):
    def test_fires_when_it_is_synced(self) -> None:
        backlog = self.backlog()
        self.assertIsNone(self.successResultOf(self.journal.take({"app": messages("one")})))
        self.assertTrue(self.disk.transactions[-1].waited)
        self.assertEqual(self.rows(backlog)[0].messages, (b"one",))

    def test_what_was_appended_before_stands_before(self) -> None:
        backlog = self.backlog()
        self.journal.append("app", messages("one"))
        self.journal.take({"app": messages("two"), "other": messages("three")})
        rows = self.rows(backlog)
        self.assertEqual([row.messages for row in rows], [(b"one",), (b"two",)])
        self.assertEqual([row.before_count for row in rows], [0, 1])

    def test_a_full_disk_takes_nothing_of_it(self) -> None:
        backlog = self.backlog()
        self.tick()
        self.disk.is_full = True
        failure = self.failureResultOf(self.journal.take({"app": messages("one")}), JournalAway)
        self.assertIn("disk is full", str(failure.value))
        self.disk.is_full = False
        self.clock.advance(10)
        self.assertEqual((self.rows(backlog), backlog.messages), ([], 0))

    def test_while_the_disk_is_full_it_fails_at_once(self) -> None:
        self.backlog()
        self.disk.is_full = True
        self.tick()
        tries = len(self.disk.transactions)
        self.failureResultOf(self.journal.take({"app": messages("one")}), JournalAway)
        self.failureResultOf(self.journal.sync(), JournalAway)
        self.assertEqual(len(self.disk.transactions), tries)

    def test_frames_are_in_the_same_transaction(self) -> None:
        self.backlog()
        self.journal.take({"app": messages("one")}, b"digest")
        self.assertEqual(self.disk.transactions[-1].frames, [b"digest"])


class FullDiskTests(JournalTestCase):
    def test_what_cannot_wait_is_kept_and_written_when_there_is_room(self) -> None:
        backlog = self.backlog()
        self.tick()
        self.disk.is_full = True
        self.journal.append("app", messages("one"))
        self.tick()
        self.journal.append("app", messages("two"))
        self.assertIn("disk is full", self.journal.trouble or "")
        self.disk.is_full = False
        self.clock.advance(1)
        self.assertIsNone(self.journal.trouble)
        self.assertEqual([row.messages for row in self.rows(backlog)], [(b"one",), (b"two",)])

    def test_the_memory_for_it_is_bounded_and_what_is_dropped_told(self) -> None:
        self.patch(writer, "WAITING_BYTES", 10)
        backlog = self.backlog()
        self.disk.is_full = True
        self.tick()
        self.journal.append("app", [b"1234567890"])
        self.journal.append("app", [b"1", b"2"])
        samples = {each.name: each.value for each in self.journal.samples()}
        self.assertEqual((self.reader.lost, samples["logplex_journal_dropped"]), (2, 2))
        self.disk.is_full = False
        self.clock.advance(1)
        self.assertEqual(backlog.messages, 1)
        self.journal.append("app", [b"1", b"2"])
        self.tick()
        self.assertEqual((backlog.messages, self.reader.lost), (3, 2))

    def test_a_disk_that_does_not_answer_is_bounded_too(self) -> None:
        self.patch(writer, "WAITING_BYTES", 10)
        backlog = self.backlog()
        self.tick()
        self.patch(self.journal._opened, "run", lambda *call: Deferred())
        self.journal.append("app", [b"written"])
        self.tick()
        self.journal.append("app", [b"1234567890"])
        self.journal.append("app", [b"1"])
        self.assertIsNone(self.journal.trouble)
        self.assertEqual((self.reader.lost, backlog.position.lost_count), (1, 1))
        self.journal._opened._writing = None

    def test_delivering_goes_on(self) -> None:
        backlog = self.backlog()
        self.journal.append("app", messages("one"))
        self.tick()
        self.disk.is_full = True
        self.finish(backlog, self.rows(backlog))
        self.tick()
        self.assertEqual(self.rows(backlog), [])


class ClaimTests(JournalTestCase):
    def fill(self, backlog: Backlog, ticks: int = 3) -> list[Row]:
        """Rows, a message each."""
        for number in range(ticks):
            self.journal.append("app", messages(f"m{number}"))
            self.tick()
        return self.rows(backlog)

    def test_one_row_is_claimed_without_a_transaction(self) -> None:
        backlog = self.backlog()
        rows = self.fill(backlog)
        before = len(self.disk.transactions)
        self.successResultOf(backlog.claim(rows[:1]))
        self.assertEqual(len(self.disk.transactions), before)

    def test_several_rows_are_on_the_disk_before_they_may_be_sent(self) -> None:
        backlog = self.backlog()
        rows = self.fill(backlog)
        self.successResultOf(backlog.claim(rows))
        written = self.disk.transactions[-1]
        self.assertTrue(written.waited)
        position = written.positions["1"]
        assert position is not None
        self.assertEqual(position.claimed, rows[-1].number)

    def test_a_claim_that_cannot_be_written_is_not_made(self) -> None:
        backlog = self.backlog()
        rows = self.fill(backlog)
        self.disk.is_full = True
        self.failureResultOf(backlog.claim(rows), JournalAway)
        self.assertEqual(backlog.position.claimed, 0)
        self.assertEqual(self.rows(backlog), rows)

    def test_rows_leave_when_every_backlog_is_done_with_them(self) -> None:
        first, second = self.backlog("1"), self.backlog("2")
        rows = self.fill(first)
        self.finish(first, rows)
        self.tick()
        self.assertEqual(self.disk.transactions[-1].keep_from, {})
        self.finish(second, rows[:2])
        self.tick()
        self.assertEqual(self.disk.transactions[-1].keep_from, {"app": rows[2].number})
        self.assertEqual(self.rows(second), rows[2:])

    def test_a_row_may_be_done_in_parts(self) -> None:
        backlog = self.backlog()
        self.journal.append("app", messages("a", "bb", "ccc"))
        self.tick()
        (row,) = self.rows(backlog)
        self.successResultOf(backlog.claim([row]))
        backlog.advance(row, 2)
        backlog.release()
        self.assertEqual((backlog.messages, backlog.position.place), (1, 2))
        self.finish(backlog, self.rows(backlog))
        self.assertEqual((backlog.messages, backlog.bytes, backlog.is_empty), (0, 0, True))

    def test_a_row_with_a_message_set_aside_stays(self) -> None:
        backlog = self.backlog()
        rows = self.fill(backlog)
        backlog.set_aside([(rows[0].number, 0)])
        self.finish(backlog, rows)
        self.tick()
        self.assertEqual(self.disk.transactions[-1].keep_from, {})
        backlog.set_aside([])
        self.tick()
        self.assertEqual(self.disk.transactions[-1].keep_from, {"app": rows[-1].number + 1})

    def test_an_ended_backlog_lets_go_of_everything(self) -> None:
        backlog = self.backlog()
        self.fill(backlog)
        backlog.end()
        self.tick()
        self.assertEqual(self.disk.transactions[-1].positions, {"1": None})
        self.assertEqual(self.rows(self.backlog("2")), [])

    def test_an_ended_backlog_leaves_its_successor_alone(self) -> None:
        earlier, later = self.backlog(), self.backlog()
        self.fill(later)
        earlier.end()
        earlier.set_aside([])
        self.tick()
        self.assertNotIn(None, self.disk.transactions[-1].positions.values())
        self.assertEqual(later.messages, 3)
        later.end()
        self.tick()
        self.assertEqual(self.disk.transactions[-1].positions, {"1": None})


class RoomTests(JournalTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.other = CountingReader()

    def fill(self, count: int, size_bytes: int = 1_000) -> None:
        """Rows of one message each."""
        for number in range(count):
            self.journal.append("app", [b"%d" % number * size_bytes])
            self.tick()

    def test_past_its_bound_the_largest_backlog_gives_way(self) -> None:
        large, small = self.backlog(), self.journal.backlog("2", "web", self.other)
        self.journal.append("web", messages("one"))
        self.fill(10, size_bytes=10_000)
        self.disk.free = 0
        self.journal.bounds = JournalBounds(keep_free_bytes=2_500, max_bytes=1 << 20)
        self.fill(1)
        self.disk.free = 1 << 62
        self.assertEqual(self.other.lost, 0)
        # What is missing, and 1/64 of the bound, in whole rows.
        self.assertEqual(self.reader.lost, 2)
        self.assertEqual(large.messages + self.reader.lost, 11)
        self.assertEqual(small.messages, 1)
        first = self.rows(large, 1 << 30)[0]
        self.assertEqual(first.messages[0][:1], b"%d" % self.reader.lost)

    def test_what_is_claimed_stays(self) -> None:
        backlog = self.backlog()
        self.fill(5)
        claimed = self.rows(backlog)[:2]
        self.successResultOf(backlog.claim(claimed))
        self.disk.free = 0
        self.fill(1)
        self.disk.free = 1 << 62
        self.assertGreater(self.reader.lost, 0)
        self.assertEqual(backlog.messages + self.reader.lost, 6)
        self.assertEqual(backlog.position.lost_count, self.reader.lost)
        for row in claimed:
            backlog.advance(row, 1)
        backlog.release()
        left = self.rows(backlog, 1 << 30)
        self.assertEqual(2 + self.reader.lost + len(left), 6)
        self.assertEqual(backlog.messages, len(left))

    def test_what_another_backlog_has_set_aside_stays(self) -> None:
        self.journal.bounds = JournalBounds(max_bytes=400_000, keep_free_bytes=0)
        slow, refused = self.backlog(), self.backlog("2")
        self.fill(6, size_bytes=10_000)
        rows = self.rows(refused)
        self.successResultOf(slow.claim(rows[:1]))
        aside = rows[4].number
        self.finish(refused, rows)
        refused.set_aside([(aside, 0)])
        for number in range(100):
            self.journal.append("app", [b"%d" % number * 10_000])
            self.tick()
            self.finish(refused, self.rows(refused))
        self.assertGreater(self.reader.lost, 50)
        self.assertEqual(self.journal._file.read("app", aside, 1, 1), [rows[4]])

    def test_room_is_made_behind_a_claim_that_never_ends(self) -> None:
        self.journal.bounds = JournalBounds(max_bytes=400_000, keep_free_bytes=0)
        backlog, behind = self.backlog(), self.backlog("2")
        self.fill(2, size_bytes=10_000)
        self.finish(behind, self.rows(behind))
        self.successResultOf(backlog.claim(self.rows(backlog)[:1]))
        for number in range(100):
            self.journal.append("app", [b"%d" % number * 10_000])
            self.tick()
            self.finish(behind, self.rows(behind))
        self.assertLess(self.journal.used_bytes, 500_000)
        self.assertGreater(self.reader.lost, 60)
        self.assertEqual(backlog.messages + self.reader.lost, 102)

    def test_what_is_too_old_is_given_up(self) -> None:
        backlog = self.backlog()
        self.fill(2)
        began_s = self.clock.seconds() - 2 * TICK_S + TICK_S
        self.clock.advance(self.journal.bounds.max_age_s - 1)
        self.fill(1)
        self.assertEqual(self.reader.lost, 0)
        self.clock.advance(61)
        self.fill(1)
        self.assertEqual([count for count, _ in self.reader.given_up], [2])
        self.assertAlmostEqual(self.reader.given_up[0][1], began_s)
        self.assertEqual(backlog.messages, 2)


class RestartTests(JournalTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.path = self.mktemp()
        self.journal = self.open(self.path)

    def crash(self) -> None:
        """Continue with a copy of the file, as a ``kill -9`` would have left it."""
        copy = self.mktemp()
        copy_of_crashed(self.path, copy)
        self.path, self.journal = copy, self.open(copy)
        self.reader = CountingReader()

    def test_rows_and_places_are_there_again(self) -> None:
        backlog = self.backlog()
        self.journal.append("app", messages("one", "two"))
        self.tick()
        (row,) = self.rows(backlog)
        self.successResultOf(backlog.claim([row]))
        backlog.advance(row, 1)
        self.tick()
        self.crash()
        backlog = self.backlog()
        self.assertEqual((self.rows(backlog), backlog.position.place), ([row], 1))
        self.assertEqual(backlog.messages, 1)

    def test_numbers_and_the_id_stay_unique(self) -> None:
        journal = self.journal.stored.id
        self.backlog()
        self.journal.append("app", messages("one"))
        self.crash()
        backlog = self.backlog()
        self.journal.append("app", messages("two"))
        self.tick()
        first = self.rows(backlog)[0].number
        self.crash()
        backlog = self.backlog()
        self.journal.append("app", messages("three"))
        self.tick()
        self.assertEqual([row.messages for row in self.rows(backlog)], [(b"two",), (b"three",)])
        self.assertGreater(self.rows(backlog)[1].number, first + 1_000_000)
        self.assertEqual(self.journal.stored.id, journal)
        self.assertNotEqual(self.open(self.mktemp()).stored.id, journal)

    def test_a_claim_of_several_rows_is_claimed_again_as_it_was(self) -> None:
        backlog = self.backlog()
        for text in ("one", "two", "three"):
            self.journal.append("app", messages(text))
            self.tick()
        claimed = self.rows(backlog)[:2]
        self.successResultOf(backlog.claim(claimed))
        self.crash()
        backlog = self.backlog()
        self.assertEqual(self.rows(backlog), claimed)
        self.finish(backlog, claimed)
        self.assertEqual([row.messages for row in self.rows(backlog)], [(b"three",)])

    def test_room_made_behind_a_claim_is_remembered(self) -> None:
        backlog = self.backlog()
        for text in ("one", "two", "three"):
            self.journal.append("app", messages(text))
            self.tick()
        claimed = self.rows(backlog)[:1]
        self.successResultOf(backlog.claim(claimed))
        self.disk.free = 0
        self.journal.append("app", messages("four"))
        self.tick()
        self.disk.free = 1 << 62
        lost = self.reader.lost
        self.tick()
        self.crash()
        backlog = self.backlog()
        self.assertEqual(self.rows(backlog), claimed)
        self.assertEqual(backlog.position.lost_count, lost)
        backlog.told(lost)
        self.assertEqual(backlog.position.lost_count, 0)
        self.finish(backlog, claimed)
        self.assertEqual(backlog.messages, 3 - lost)

    def test_positions_of_drains_that_are_gone_end(self) -> None:
        self.backlog("1")
        self.backlog("2", "web")
        self.journal.append("web", messages("one"))
        self.tick()
        self.crash()
        self.backlog("1")
        self.journal.end_others()
        self.tick()
        self.assertEqual(self.disk.transactions[-1].positions["2"], None)
        self.crash()
        self.assertEqual(self.rows(self.backlog("2", "web")), [])

    def test_frames_are_remembered_for_their_time(self) -> None:
        self.backlog()
        self.journal.take({"app": messages("one")}, b"old")
        self.clock.advance(FRAME_LIFETIME_S - 1)
        self.journal.take({"app": messages("two")}, b"new")
        self.crash()
        self.assertEqual(list(self.journal.stored.frames), [b"old", b"new"])
        self.clock.advance(2)
        self.crash()
        self.assertEqual(list(self.journal.stored.frames), [b"new"])

    def test_closing_writes_what_waits(self) -> None:
        self.backlog()
        self.journal.append("app", messages("one"))
        self.successResultOf(Deferred.fromCoroutine(self.journal.close()))
        self.journal = self.open(self.path)
        self.assertEqual(self.rows(self.backlog())[0].messages, (b"one",))

    def test_after_closing_nothing_is_taken_and_nothing_raised(self) -> None:
        self.backlog()
        self.successResultOf(Deferred.fromCoroutine(self.journal.close()))
        self.journal.append("app", messages("one"))
        self.failureResultOf(self.journal.take({"app": messages("one")}), JournalAway)

    def test_a_full_disk_at_the_start_may_pass(self) -> None:
        class Full(JournalFile):
            def open(self, now_s: float, remember_s: float) -> Opened:
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorcode = sqlite3.SQLITE_FULL
                raise error

        full = Journal(self.mktemp(), at_once, self.clock, open_file=Full)
        self.failureResultOf(Deferred.fromCoroutine(full.open()), JournalFull)
        self.successResultOf(Deferred.fromCoroutine(full.close()))

    def test_two_processes_cannot_share_it(self) -> None:
        error = self.assertRaises(JournalUnusable, opened_journal, self.path, self.clock)
        self.assertIn("in use by another process", str(error))

    def test_a_damaged_file_is_kept_aside(self) -> None:
        path = Path(self.mktemp())
        path.write_bytes(b"no database" * 1_000)
        journal = self.open(str(path))
        self.assertEqual(len(journal.stored.id), 32)
        (aside,) = path.parent.glob(f"{path.name}.damaged-*")
        self.assertEqual(aside.read_bytes(), b"no database" * 1_000)

    def test_a_file_of_another_program_is_refused(self) -> None:
        path = self.mktemp()
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE theirs (one)")
        connection.close()
        error = self.assertRaises(JournalUnusable, opened_journal, path, self.clock)
        self.assertIn("another program", str(error))

    def test_the_file_shrinks_when_the_backlog_is_gone(self) -> None:
        backlog = self.backlog()
        for _ in range(40):
            self.journal.append("app", [b"x" * 10_000] * 10)
            self.tick()
        full = self.journal.used_bytes
        while rows := self.rows(backlog):
            self.finish(backlog, rows)
        self.tick()
        self.assertGreater(full, 4_000_000)
        self.assertLess(self.journal.used_bytes, 100_000)
