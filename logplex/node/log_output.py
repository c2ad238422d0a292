# SPDX-License-Identifier: Apache-2.0

"""The output of the node's log to standard output. It never blocks the node."""

from __future__ import annotations

import os
import select
import socket
import stat
import time
from collections.abc import Iterator
from threading import RLock

from prometheus_client.core import CounterMetricFamily

from logplex.interfaces import IReactor
from logplex.live import Live
from logplex.metrics import Sample
from logplex.settings import Limits

#: After this time the node tries again to write lines that wait.
RETRY_S = 0.2
_DROPPED = b"logplex: %d lines of the log were dropped, because nothing read them\n"


class LogOutput:
    """
    A text file for log lines. If the reader does not read them, the file drops and counts lines.

    A pipe, a terminal or a socket can be full. Then lines wait, up to ``[limits]
    log_waiting_bytes``, and are written later. A regular file is written to at once.

    A pipe that is ready for writing takes ``PIPE_BUF`` bytes without blocking (POSIX).

    :param descriptor: the descriptor of standard output. Its flags are not changed, because other
        processes may share them.
    :ivar limits: the limits of the node.
    :ivar reactor: calls again to write lines that wait; without a reactor the next line causes
        this.
    :ivar dropped: the number of log lines that were dropped.
    """

    encoding = "utf-8"

    def __init__(self, descriptor: int) -> None:
        mode = os.fstat(descriptor).st_mode
        self._descriptor = descriptor
        self._is_file = stat.S_ISREG(mode)
        self._is_socket = stat.S_ISSOCK(mode)
        self._piece_bytes = select.PIPE_BUF
        if os.isatty(descriptor):
            self._open_terminal()
        #: Reentrant, because a handler of a signal may log.
        self._lock = RLock()
        self._waiting = bytearray()
        self._is_writing = False
        self._untold = 0
        self._retries = False
        self.limits = Live(Limits())
        self.reactor: IReactor | None = None
        self.dropped = 0

    def write(self, text: str) -> None:
        """
        Write whole lines, keep them for later, or drop them. This call never blocks, and never
        raises an error.
        """
        line = text.encode(errors="backslashreplace")
        with self._lock:
            self._write_waiting()
            if len(self._waiting) + len(line) > self.limits.now.log_waiting_bytes:
                self.dropped += 1
                self._untold += 1
                return
            if self._untold:
                self._waiting += _DROPPED % self._untold
                self._untold = 0
            self._waiting += line
            self._write_waiting()
            if self._waiting and self.reactor is not None and not self._retries:
                self._retries = True
                self.reactor.callFromThread(self._retry_later)

    def flush(self) -> None:
        """Write as many waiting lines as can be written without blocking."""
        with self._lock:
            self._write_waiting()

    def flush_within(self, seconds: float) -> None:
        """Write all waiting lines, for at most this number of seconds."""
        deadline_s = time.monotonic() + seconds
        self.flush()
        while self._waiting and (left_s := deadline_s - time.monotonic()) > 0:
            self._is_ready(left_s)
            self.flush()

    def _retry_later(self) -> None:
        if self.reactor is not None:
            self.reactor.callLater(RETRY_S, self._retry)

    def _retry(self) -> None:
        with self._lock:
            self._write_waiting()
            self._retries = bool(self._waiting)
            if self._retries:
                self._retry_later()

    def samples(self) -> Iterator[Sample]:
        """Yield the number of dropped log lines, for metrics."""
        yield Sample(
            "logplex_log_lines_dropped",
            "Lines of the node's log that were dropped because nothing read standard output",
            self.dropped,
            kind=CounterMetricFamily,
        )

    def _open_terminal(self) -> None:
        """Open the terminal again, so that this second descriptor does not block."""
        try:
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY
            self._descriptor = os.open(os.ttyname(self._descriptor), flags)
        except OSError:
            self._piece_bytes = 256

    def _write_waiting(self) -> None:
        if self._is_writing:
            return
        self._is_writing = True
        try:
            while self._waiting:
                written = self._write_piece(bytes(self._waiting[: self._piece_bytes]))
                if not written:
                    return
                del self._waiting[:written]
        except OSError:
            # The other end is gone, or the disk is full.
            self.dropped += self._waiting.count(b"\n")
            self._waiting.clear()
        finally:
            self._is_writing = False

    def _write_piece(self, piece: bytes) -> int:
        """
        Write as much of a piece as possible without blocking. Return the number of written bytes.
        """
        try:
            if self._is_socket:
                with socket.socket(fileno=os.dup(self._descriptor)) as peer:
                    return peer.send(piece, socket.MSG_DONTWAIT)
            if self._is_file or self._is_ready(0):
                return os.write(self._descriptor, piece)
        except BlockingIOError:
            pass
        return 0

    def _is_ready(self, timeout_s: float) -> bool:
        """Wait until a piece can be written or the reader is gone. Return false after a timeout."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        return bool(poll.poll(timeout_s * 1_000))
