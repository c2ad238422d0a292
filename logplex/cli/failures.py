"""
How a command ends when it does not succeed: one line on standard error, and an exit status.
"""

from __future__ import annotations

from typing import IO, Any

import click

#: Ended by Ctrl-C or a signal, as shells count it.
INTERRUPTED = 130
#: A mistake of this program, not of its user (``EX_SOFTWARE`` of ``sysexits.h``).
BUG = 70


class Failed(click.ClickException):
    """
    A command cannot do what it is for.

    Its text never holds a credential, a token, a session's URL or a drain's.
    """

    def show(self, file: IO[Any] | None = None) -> None:
        """Click calls it."""
        click.echo(f"logplex: {self.format_message()}", file=file, err=file is None)


class Rejected(Failed):
    """The node understood, and said no. (Status 2 is a wrong command line, which Click tells.)"""

    exit_code = 1


class Unreachable(Failed):
    """Nobody answers, or the answer is that it cannot be done now. Later it may."""

    exit_code = 3


class NotFound(Failed):
    """There is no such channel, drain, credential, file."""

    exit_code = 4


class Incomplete(Failed):
    """A part was done, and the rest was not."""

    exit_code = 5


class BadSettings(Failed):
    """The URL, the credential or the file that has them cannot be used."""

    exit_code = 2
