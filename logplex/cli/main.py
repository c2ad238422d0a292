# SPDX-License-Identifier: Apache-2.0

"""
The entry point of ``logplex``. It prepares the process, then loads and runs the command.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from logplex.cli.arguments import hide_secrets

#: The exit status after Ctrl-C; see :data:`logplex.cli.failures.INTERRUPTED`.
_INTERRUPTED = 130


def main() -> None:
    """Run the command line of this process."""
    # Loading the commands takes some tenths of a second. Ctrl-C ends it without a traceback.
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, _interrupted)
    signal.signal(signal.SIGTERM, _interrupted)
    hide_secrets()
    _open_streams()

    import click

    from logplex.cli.commands import logplex
    from logplex.cli.failures import ending
    from logplex.cli.runtime import real_runtime

    try:
        logplex(obj=real_runtime(), prog_name="logplex")
    except Exception as error:
        status, why = ending(error)
        try:
            click.echo(f"logplex: {why}", err=True)
        finally:
            # Without another attempt to write what the output still holds.
            os._exit(status)


def _interrupted(number: int, frame: FrameType | None) -> None:
    os._exit(_INTERRUPTED)


def _open_streams() -> None:
    """
    Replace closed standard streams by the null device, so that a new file does not get the number
    of a standard stream.

    Replace characters that a stream cannot write.
    """
    for number, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # gets the lowest free number: this one
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]


if __name__ == "__main__":
    main()
