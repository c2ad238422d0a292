# SPDX-License-Identifier: Apache-2.0

"""``logplex journal``"""

from __future__ import annotations

from twisted.internet.task import Clock

from tests.doubles.commands import CliCase
from tests.doubles.journal import CountingReader, opened_journal


class JournalTests(CliCase):
    def test_show(self) -> None:
        clock = Clock()
        clock.advance(1_700_000_000)
        path = self.mktemp()
        journal = opened_journal(path, clock)
        journal.backlog("7", "app", CountingReader())
        journal.append("app", [b"one", b"two"])
        clock.advance(1)
        lines = self.lines("journal", "show", path)
        self.assertEqual(lines[0].split(), ["journal", journal.stored.id])
        self.assertIn("2 messages  6 bytes  since 2023-11-14T22:13:21+00:00", lines[-1])
        (drain,) = self.json("journal", "show", path)["drains"]
        self.assertEqual((drain["drain"], drain["lag_messages"]), ("7", 2))

    def test_no_journal(self) -> None:
        file = self.home / "text"
        result = self.run_command("journal", "show", str(file))
        self.assertFails(4, f"{file}: no such file", result)
        file.write_text("text that is longer than the head of a database" * 9)
        why = f"{file} cannot be read: file is not a database"
        self.assertFails(1, why, self.run_command("journal", "show", str(file)))
