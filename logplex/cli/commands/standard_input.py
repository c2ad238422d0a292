"""
Standard input, whatever it is: a pipe, a file, a terminal.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

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
