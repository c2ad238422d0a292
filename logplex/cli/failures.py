# SPDX-License-Identifier: Apache-2.0

"""
The failures that end a command. Each failure has a line on standard error and an exit status.
"""

from __future__ import annotations

import errno
from pathlib import Path
from traceback import walk_tb
from typing import IO, Any

import click

#: The exit status after Ctrl-C or a signal, as shells define it.
INTERRUPTED = 130
#: The exit status after a bug in this program (``EX_SOFTWARE`` of ``sysexits.h``).
BUG = 70

#: The errors of an output that is full, closed or broken.
_OUTPUT_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF}


class Failed(click.ClickException):
    """
    A command has failed.

    The text of the failure never contains a credential, a token, or the URL of a session or a
    drain.
    """

    def show(self, file: IO[Any] | None = None) -> None:
        """Write the failure to standard error. Click calls this method."""
        click.echo(f"logplex: {self.format_message()}", file=file, err=file is None)


class Rejected(Failed):
    """The node understood the request and rejected it."""

    exit_code = 1


class Unreachable(Failed):
    """The node sent no answer, or cannot answer now. The same command may succeed later."""

    exit_code = 3


class NotFound(Failed):
    """The channel, drain, credential or file does not exist."""

    exit_code = 4


class Incomplete(Failed):
    """The command has done only a part of the work."""

    exit_code = 5


class BadSettings(Failed):
    """The URL, the credential or the user's settings file is wrong."""

    exit_code = 2


def ending(error: Exception) -> tuple[int, str]:
    """Return the exit status and the error text for an exception that is not a :class:`Failed`."""
    if isinstance(error, OSError) and error.errno in _OUTPUT_ERRORS:
        return Failed.exit_code, f"the output cannot be written: {error.strerror}"
    # The text of the error may contain a secret; its file and line do not.
    *_, (frame, line) = walk_tb(error.__traceback__)
    origin = f"{Path(frame.f_code.co_filename).name}:{line}"
    return BUG, f"bug: {type(error).__name__} at {origin}"
