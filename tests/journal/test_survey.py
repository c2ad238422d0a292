# SPDX-License-Identifier: Apache-2.0

"""
A look into the file of a journal, while a node uses it and afterwards.
"""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from logplex.journal.survey import DrainSurvey, survey
from logplex.journal.values import JournalUnusable
from tests.doubles.journal import CountingReader, opened_journal

NOW_S = 1_700_000_000.0


class SurveyTests(SynchronousTestCase):
    def test_positions_lag_and_size(self) -> None:
        """The same is shown of the file of a running node and of one that has ended."""
        clock = Clock()
        clock.advance(NOW_S)
        path = self.mktemp()
        journal = opened_journal(path, clock)
        behind = journal.backlog("7", "app", CountingReader())
        refused = journal.backlog("8", "app", CountingReader())
        for number in range(3):
            journal.append("app", [b"%d" % number * 100] * 2)
            clock.advance(1)
        rows = self.successResultOf(behind.read())
        self.successResultOf(behind.claim(rows[:1]))
        behind.advance(rows[0], 1)
        self.successResultOf(refused.claim(rows))
        refused.set_aside([(rows[1].number, 0)])
        refused.advance(rows[2], 2)
        refused.release()
        clock.advance(1)
        number = rows[0].number

        def expect() -> None:
            found = survey(path)
            self.assertEqual(
                found.drains,
                [
                    DrainSurvey("7", "app", number, 1, 0, 5, 600, rows[0].at_s, 0, 0),
                    DrainSurvey("8", "app", number + 3, 0, 0, 1, 0, rows[1].at_s, 1, 0),
                ],
            )
            self.assertEqual((found.id, found.rows), (journal.stored.id, 3))
            self.assertGreater(found.bytes, 0)
            self.assertGreater(found.used_bytes, 0)

        expect()
        self.successResultOf(Deferred.fromCoroutine(journal.close()))
        before = Path(path).read_bytes()
        expect()
        self.assertEqual(Path(path).read_bytes(), before)

    def test_another_file(self) -> None:
        path = self.mktemp()
        Path(path).write_bytes(b"")
        with self.assertRaisesRegex(JournalUnusable, "is not a journal"):
            survey(path)
        Path(path).write_bytes(b"some text that is long enough" * 100)
        with self.assertRaisesRegex(JournalUnusable, "cannot be read"):
            survey(path)
