# SPDX-License-Identifier: Apache-2.0

"""
A connection to an HTTP receiver: one request at a time, and its answer.

The courier makes the bytes of requests; :mod:`logplex.drains.kinds.http_answers` reads the answers.
"""

from __future__ import annotations

from typing import Protocol as Contract

from attrs import define
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from logplex.drains.kinds.http_answers import Answer, AnswerReader, Unreadable
from logplex.drains.kinds.stream import StreamConnection
from logplex.drains.network.errors import explain


class Exchanges(Contract):
    """The results that an HTTP connection reports to its courier."""

    def answered(self, answer: Answer, reusable: bool) -> None:
        """
        Report that the receiver has answered the request.

        :param reusable: true if the connection can be used for another request.
        """

    def unanswered(self, why: str, excusable: bool) -> None:
        """
        Report that the connection is lost and the request has no answer.

        :param excusable: true if the connection had served earlier requests, and no byte of this
            answer arrived. The receiver has most likely closed the unused connection before it saw
            the request.
        """

    def left(self) -> None:
        """Report that the connection is lost while no request was waiting for an answer."""


@define
class AnswerLimits:
    """
    The limits of an answer: the longest time until it is complete, and the most bytes of its body
    that are read.
    """

    answer_timeout_s: float
    answer_bytes: int


class HttpConnection(StreamConnection):
    """
    A connection to an HTTP receiver; see
    :class:`~logplex.drains.delivery.courier.ReceiverConnection`.
    """

    def __init__(
        self, exchanges: Exchanges, limits: AnswerLimits, clock: IReactorTime, tls: bool
    ) -> None:
        super().__init__(clock, tls)
        self._exchanges = exchanges
        self._limits = limits
        #: Reads the answer to the open request.
        self._reader: AnswerReader | None = None
        self._served = False

    def end(self) -> None:
        super().end()
        self._reader = None

    def request(self, octets: bytes) -> None:
        """
        Send one whole request. The connection then calls one method of :class:`Exchanges`.

        :param octets: the request.
        """
        self._reader = AnswerReader(self._limits.answer_bytes)
        self.timer = self.clock.callLater(self._limits.answer_timeout_s, self._timed_out)
        assert self.transport is not None
        self.transport.write(octets)

    # Called by Twisted.

    def dataReceived(self, data: bytes) -> None:
        if self.ended:
            return
        if self._reader is None:
            # There was no request: what comes next could be taken for the answer to one.
            self.abort()
            self._exchanges.left()
            return
        self._read(self._reader, data, "the answer is not HTTP/1.1")

    def lost(self, reason: Failure) -> None:
        if self._reader is None:
            self.end()
            self._exchanges.left()
        else:
            # The end of the connection may be the end of an answer without length.
            self._read(self._reader, b"", f"the connection was lost: {explain(reason)}")

    # Reading answers.

    def _read(self, reader: AnswerReader, data: bytes, otherwise: str) -> None:
        """
        Read the next bytes of an answer.

        :param otherwise: the error if the bytes are not part of an answer.
        """
        try:
            answer = reader.read(data)
        except Unreadable:
            self._break(reader, otherwise)
        else:
            if answer is not None:
                self._settle(answer, reader.reusable and self.transport is not None)

    def _timed_out(self) -> None:
        self.timer = None
        assert self._reader is not None
        self._reader.heard = True  # The receiver was there and silent: that is not excusable.
        self._break(self._reader, f"no whole answer within {self._limits.answer_timeout_s:g} s")

    def _break(self, reader: AnswerReader, why: str) -> None:
        """
        End the request early. If the status of the answer has arrived, report it as the answer.
        """
        self.abort()
        answer = reader.so_far()
        if answer is not None:
            self._settle(answer, reusable=False)
        else:
            self._exchanges.unanswered(why, excusable=self._served and not reader.heard)

    def _settle(self, answer: Answer, reusable: bool) -> None:
        self.stop_timer()
        self._reader = None
        self._served = True
        if not reusable:
            self.close()
        self._exchanges.answered(answer, reusable)
