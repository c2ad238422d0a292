# SPDX-License-Identifier: Apache-2.0

"""
``logplex send``: send standard input to a channel, each line as a message.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Callable
from uuid import uuid4

import click
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from logplex.cli.client.frames import Form, LineCutter
from logplex.cli.client.shuttle import Shuttle, deliver_all
from logplex.cli.command import Remote, checked, examples, talks, warn
from logplex.cli.failures import Incomplete

#: The most that is read from standard input at once.
CHUNK_BYTES = 65_536


@implementer(IReadDescriptor)
class StandardInput:
    """
    Read a file descriptor whenever it has data.

    The descriptor stays blocking: other programs on the same terminal share its flags. Twisted's
    ``StandardIO`` would make it non-blocking, and our standard output too.

    :param take: called with every chunk.
    :param ended: called once at the end, with the error if reading failed.
    """

    def __init__(
        self,
        reactor: IReactorFDSet,
        descriptor: int,
        take: Callable[[bytes], None],
        ended: Callable[[OSError | None], None],
    ) -> None:
        self._reactor = reactor
        self._descriptor = descriptor
        self._take = take
        self._ended = ended
        self._has_ended = False

    def resume(self) -> None:
        """Start or continue to read."""
        if not self._has_ended:
            self._reactor.addReader(self)

    def pause(self) -> None:
        """Stop reading until :meth:`resume`."""
        self._reactor.removeReader(self)

    # Called by Twisted.

    def fileno(self) -> int:
        return self._descriptor

    def doRead(self) -> None:
        try:
            chunk = os.read(self._descriptor, CHUNK_BYTES)
        except BlockingIOError:
            # Another program shares the descriptor, and has read the data.
            return
        except OSError as error:
            self._end(error)
            return
        if chunk:
            self._take(chunk)
        else:
            self._end()

    def connectionLost(self, reason: Failure) -> None:
        """Report the end of the input: the writer of the pipe has closed it, or reading failed."""
        self._end()

    def logPrefix(self) -> str:
        return "standard input"

    def _end(self, error: OSError | None = None) -> None:
        self.pause()
        if not self._has_ended:
            self._has_ended = True
            self._ended(error)


def word(max_characters: int) -> Callable[[str], str]:
    """
    Return a rule for a header field of a message: printable ASCII characters without space (RFC
    5424 §6.2).
    """

    def rule(value: str) -> str:
        if not re.fullmatch(r"[!-~]+", value) or len(value) > max_characters:
            raise ValueError(f"must be 1 to {max_characters} printable characters without space")
        return value

    return rule


@click.command(
    epilog=examples(
        "my-program 2>&1 | LOGPLEX_TOKEN=t.… logplex send",
        "logplex send --token t.… --ps cron.backup <backup.log",
    )
)
@click.option(
    "--token",
    envvar="LOGPLEX_TOKEN",
    show_envvar=True,
    required=True,
    callback=checked(word(255)),
    help="The channel's token. (Other users of this machine can see the options of a command.)",
)
@click.option(
    "--ps", "procid", callback=checked(word(128)), default="send", help="The name of the process."
)
@click.option(
    "--host",
    callback=checked(word(255)),
    help="The name of the host. [default: this machine's name]",
)
@click.option(
    "--pri",
    type=click.IntRange(0, 191),
    default=14,
    show_default=True,
    help="Facility times 8 plus severity.",
)
@talks
async def send(remote: Remote, token: str, procid: str, host: str | None, pri: int) -> None:
    """
    Send every line of standard input as a message.

    Lines are sent in batches. A batch is sent again until the node has taken it, for up to two
    minutes; the node never takes a batch twice. A line that is too long becomes several messages.
    If lines could not be delivered, standard error says how many, and the exit status is not 0.
    """
    form = Form(pri, host or socket.gethostname() or "-", token, procid)
    cutter = LineCutter(form.max_line_bytes)

    trouble: OSError | None = None

    def ended(error: OSError | None) -> None:
        nonlocal trouble
        trouble = error
        shuttle.push(cutter.end())
        shuttle.end()

    source = StandardInput(
        remote.runtime.reactor,
        sys.stdin.fileno(),
        lambda chunk: shuttle.push(cutter.cut(chunk)),
        ended,
    )
    shuttle = Shuttle(
        remote.api.asker,
        remote.target.logs_url,
        token,
        form,
        remote.runtime.reactor,
        lambda: uuid4().hex.upper(),
        source.pause,
        source.resume,
        warn,
    )
    source.resume()
    try:
        await Deferred.fromCoroutine(deliver_all(shuttle))
    finally:
        source.pause()
    if trouble is not None:
        raise Incomplete(
            f"standard input cannot be read: {trouble.strerror};"
            f" {shuttle.delivered} lines were delivered"
        )
    remote.show({"delivered": shuttle.delivered}, [])
