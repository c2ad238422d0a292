# SPDX-License-Identifier: Apache-2.0

"""
A journal whose file or log was torn by a loss of power: it opens, and holds a prefix of its rows.
"""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.doubles.journal import CountingReader, copy_of_crashed, opened_journal

#: SQLite's write-ahead log: a head, then frames of a head and a page each.
LOG_HEAD_BYTES = 32
FRAME_HEAD_BYTES = 24
PAGE_BYTES = 4_096


class TornLogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.path = self.mktemp()
        journal = opened_journal(self.path, self.clock)
        self.addCleanup(lambda: Deferred.fromCoroutine(journal.close()))
        journal.backlog("1", "app", CountingReader())
        self.clock.advance(1)
        for number in range(12):
            journal.append("app", [b"%d " % number + b"x" * 3_000])
            self.clock.advance(1)
        self.log_bytes = Path(self.path + "-wal").stat().st_size

    def rows_after(self, cut: int, garbage: bytes = b"") -> list[int]:
        """The numbers in the messages of a copy whose log ends after ``cut`` bytes."""
        copy = self.mktemp()
        copy_of_crashed(self.path, copy)
        log = Path(copy + "-wal")
        log.write_bytes(log.read_bytes()[:cut] + garbage)
        journal = opened_journal(copy, self.clock)
        backlog = journal.backlog("1", "app", CountingReader())
        rows = self.successResultOf(backlog.read(1 << 30, 1 << 30))
        self.successResultOf(Deferred.fromCoroutine(journal.close()))
        return [int(message.split()[0]) for row in rows for message in row.messages]

    def test_every_border_of_a_page(self) -> None:
        borders = range(LOG_HEAD_BYTES, self.log_bytes + 1, FRAME_HEAD_BYTES + PAGE_BYTES)
        self.assertGreater(len(borders), 24)
        lengths = set()
        for cut in borders:
            found = self.rows_after(cut)
            self.assertEqual(found, list(range(len(found))))
            lengths.add(len(found))
        self.assertEqual(max(lengths), 12)
        self.assertGreater(len(lengths), 10)

    def test_within_a_page_and_with_garbage_behind(self) -> None:
        for cut in range(LOG_HEAD_BYTES, self.log_bytes, 7_919):
            for garbage in (b"", b"\0" * 5_000, b"\xff" * 5_000):
                found = self.rows_after(cut, garbage)
                self.assertEqual(found, list(range(len(found))))


class TornFileTests(SynchronousTestCase):
    def test_a_file_cut_at_any_page_opens_or_is_set_aside(self) -> None:
        clock = Clock()
        clock.advance(1_700_000_000)
        path = self.mktemp()
        journal = opened_journal(path, clock)
        journal.backlog("1", "app", CountingReader())
        for number in range(12):
            journal.append("app", [b"%d " % number + b"x" * 3_000])
            clock.advance(1)
        self.successResultOf(Deferred.fromCoroutine(journal.close()))
        whole = Path(path).read_bytes()
        for cut in range(0, len(whole), PAGE_BYTES):
            copy = self.mktemp()
            Path(copy).write_bytes(whole[:cut])
            journal = opened_journal(copy, clock)
            backlog = journal.backlog("1", "app", CountingReader())
            journal.append("app", [b"after"])
            clock.advance(1)
            self.assertIsNone(journal.trouble)
            last = self.successResultOf(backlog.read(1 << 30, 1 << 30))[-1]
            self.assertEqual(last.messages[-1], b"after")
            self.successResultOf(Deferred.fromCoroutine(journal.close()))
