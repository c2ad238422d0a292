"""The whole command."""

from __future__ import annotations

import contextlib
import io

import click
from twisted.trial.unittest import SynchronousTestCase

from logplex import __version__
from logplex.cli import main
from logplex.cli.failures import BUG
from tests.doubles.commands import CliCase


def paths(path: list[str], command: click.Command) -> list[list[str]]:
    """Yield a command and every command below it."""
    parts = command.commands if isinstance(command, click.Group) else {}
    below = [each for name, part in parts.items() for each in paths([*path, name], part)]
    return [path, *below]


class HelpTests(CliCase):
    """``--help``"""

    def test_every_command(self) -> None:
        """Every command has a help text, with examples of this command."""
        found = paths([], main.logplex)
        self.assertIn(["channel"], found)
        self.assertIn(["channel", "create"], found)
        for path in found:
            result = self.run_command(*path, "--help")
            self.assertEqual(0, result.exit_code, path)
            _, _, examples = result.stdout.partition("Examples:\n    ")
            self.assertIn(" ".join(["logplex", *path]), examples)

    def test_version(self) -> None:
        result = self.run_command("--version")
        self.assertEqual(f"logplex, version {__version__}\n", result.stdout)


class BugTests(SynchronousTestCase):
    """Exceptions that no code expects."""

    def test_no_traceback(self) -> None:
        """The file and line are shown; the text of the exception may contain a secret."""

        def fails(**kwargs: object) -> None:
            raise KeyError("hidden")

        self.patch(main, "logplex", fails)
        told = io.StringIO()
        with contextlib.redirect_stderr(told), self.assertRaises(SystemExit) as caught:
            main.main()
        self.assertEqual(BUG, caught.exception.code)
        self.assertRegex(told.getvalue(), r"^logplex: bug: KeyError at test_main\.py:\d+\n$")
