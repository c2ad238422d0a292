# SPDX-License-Identifier: Apache-2.0

"""The whole command."""

from __future__ import annotations

from errno import ENOSPC

import click
from twisted.trial.unittest import SynchronousTestCase

from logplex import __version__
from logplex.cli.arguments import without_secrets
from logplex.cli.commands import logplex
from logplex.cli.failures import BUG, ending
from tests.doubles.commands import CliCase

UUID = "2f0c1d0e-1111-4222-8333-0123456789ab"


def paths(path: list[str], command: click.Command) -> list[list[str]]:
    """Yield a command and every command below it."""
    parts = command.commands if isinstance(command, click.Group) else {}
    below = [each for name, part in parts.items() for each in paths([*path, name], part)]
    return [path, *below]


class HelpTests(CliCase):
    """``--help``"""

    def test_every_command(self) -> None:
        """Every command has a help text, with examples of this command."""
        found = paths([], logplex)
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


class EndingTests(SynchronousTestCase):
    """Exceptions that no command expects."""

    def test_bug(self) -> None:
        """The file and line are shown; the text of the exception may contain a secret."""
        try:
            raise KeyError("hidden")
        except KeyError as error:
            status, why = ending(error)
        self.assertEqual(BUG, status)
        self.assertRegex(why, r"^bug: KeyError at test_main\.py:\d+$")

    def test_output(self) -> None:
        self.assertEqual(
            ending(OSError(ENOSPC, "No space left on device")),
            (1, "the output cannot be written: No space left on device"),
        )


class ArgumentTests(SynchronousTestCase):
    """Secrets among the arguments of a command."""

    def test_hidden(self) -> None:
        for line, shown in (
            ("logplex health --credential a:b", "logplex health --credential xxx"),
            ("logplex --credential=a:b health", "logplex --credential=xxx health"),
            ("send --token t.x --ps a", "send --token xxx --ps a"),
            (f"token delete shop t.{UUID}", f"token delete shop {'x' * 38}"),
            ("drain add shop https://u:p@a.b/c@d", "drain add shop https://xxx@a.b/c@d"),
            ("store export - --store redis://:p@r", "store export - --store redis://xx@r"),
            ("drain add shop https://a.b/c", "drain add shop https://a.b/c"),
            ("tail shop --credential", "tail shop --credential"),
        ):
            hidden = without_secrets(line.encode().split(b" "))
            self.assertEqual(b" ".join(hidden).decode(), shown)
