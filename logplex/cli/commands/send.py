"""
``logplex send``: standard input into a channel, line by line.
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
from logplex.cli.command import Remote, checked, examples, talks
from logplex.cli.failures import Incomplete

CHUNK_BYTES = 65_536


@implementer(IReadDescriptor)
class StandardInput:
    """
    Reads a descriptor when there is something to read.

    Its flags stay as they are: whoever shares a terminal with us shares them. Twisted's own
    ``StandardIO`` makes it non-blocking, and our standard output with it.

    :param take: gets every chunk.
    :param ended: is called once, at the end: with the error that it ended with, if any.
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
        """Begin to read, or go on."""
        if not self._has_ended:
            self._reactor.addReader(self)

    def pause(self) -> None:
        """Read no more for now."""
        self._reactor.removeReader(self)

    # What Twisted calls.

    def fileno(self) -> int:
        return self._descriptor

    def doRead(self) -> None:
        try:
            chunk = os.read(self._descriptor, CHUNK_BYTES)
        except BlockingIOError:  # somebody else has read it, or made it so
            return
        except OSError as error:
            self._end(error)
            return
        if chunk:
            self._take(chunk)
        else:
            self._end()

    def connectionLost(self, reason: Failure) -> None:
        """The other end of a pipe is gone, or reading failed."""
        self._end()

    def logPrefix(self) -> str:
        return "standard input"

    def _end(self, error: OSError | None = None) -> None:
        self.pause()
        if not self._has_ended:
            self._has_ended = True
            self._ended(error)


def word(max_characters: int) -> Callable[[str], str]:
    """A field of a message (RFC 5424 §6.2): printable ASCII without space."""

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
    help="The right to write into a channel. (Others on this machine see a command's options.)",
)
@click.option(
    "--ps", "procid", callback=checked(word(128)), default="send", help="The process that is shown."
)
@click.option(
    "--host", callback=checked(word(255)), help="Where it runs. [default: this machine's name]"
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

    Lines go in batches, each until the node has taken it, for up to two minutes; a batch that was
    taken is not taken twice. Lines that are too long for one message become several. What could
    not be delivered is told with its number, and the exit status is not 0.
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
