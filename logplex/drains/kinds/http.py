# SPDX-License-Identifier: Apache-2.0

"""
HTTP drains: batches of messages, one ``POST`` at a time (PROTOCOL §8).
"""

from __future__ import annotations

from base64 import b64encode
from random import Random

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from logplex import __version__
from logplex.clock import wall_s
from logplex.drains.delivery.courier import Loss, Outcome, Reports, Supply
from logplex.drains.delivery.pace import Linger, Pace
from logplex.drains.kinds.http_answers import Answer, retry_after_s
from logplex.drains.kinds.http_connection import AnswerLimits, HttpConnection
from logplex.drains.kinds.stream import open_connection
from logplex.drains.network.errors import NOTICED, explain
from logplex.model.destination import HttpDestination
from logplex.settings import DrainSettings
from logplex.syslog.inner import take_http_frames
from logplex.syslog.notices import l10_http_frame

#: Backoff by consecutive failed connects n: half of 10 ms times (2^rand(1…min(10, n)) - 1).
_BACKOFF_UNIT_S = 0.010
_BACKOFF_FREE = 2
_BACKOFF_MAX_EXPONENT = 10

#: The greatest deviation of a wait between two tries from what is configured.
_JITTER = 0.25

#: Refusals of a batch that may be due to one of its messages, or to its size.
_HALVED = frozenset({400, 413, 422})
#: A receiver that refuses this many requests in a row, down to single messages, seems to refuse
#: everything. The next requests then come after these pauses: 400 messages cost 799 requests.
_MOST_REFUSED = 32
_REFUSED_PAUSE_S = 0.25
#: Answers of 4xx that ask for a later try.
_TRIED_AGAIN = frozenset({408, 425, 429})


def http_pace(settings: DrainSettings, linger: Linger) -> Pace:
    """Return the times that HTTP drains keep."""
    return Pace(
        connect_timeout_s=settings.connect_timeout_s,
        linger=linger,
        linger_messages=settings.http_batch_messages,
        idle_s=settings.http_idle_timeout_s,
        idle_jitter_s=settings.idle_jitter_s,
        max_age_s=settings.max_age_s,
    )


@define(eq=False, repr=False)
class _HttpBatch:
    """
    The content of one HTTP request. A repeated request has the same content.

    :ivar loss: the lost messages. A notice before the messages of the batch tells the receiver
        about them.
    :ivar full: true if more messages were waiting than the batch had room for.
    :ivar tries: the number of failed requests with this batch.
    :ivar age_s: the time from the first failure to ``aging_since``, without times in which there
        was no connection.
    :ivar aging_since: the time at which ``age_s`` was last updated; ``None`` before the first
        failure, and while there is no connection.
    """

    frames: list[bytes]
    notice: bytes
    frame_id: bytes
    loss: Loss | None
    full: bool
    tries: int = 0
    age_s: float = 0.0
    aging_since: float | None = None

    def age(self, now: float, connected: bool) -> None:
        """Update the age of the batch. The age grows only while there is a connection."""
        if self.aging_since is not None:
            self.age_s += now - self.aging_since
        self.aging_since = now if connected and self.tries else None


@define(eq=False, repr=False, kw_only=True)
class HttpCourier:
    """
    The courier of HTTP drains; see :class:`~logplex.drains.delivery.courier.Courier`.

    :ivar endpoint: connects to the receiver, with TLS if the destination asks for it.
    :ivar last_answer: the answer to the last request, which a test message shows.
    """

    destination: HttpDestination
    drain_token: str
    buffer: Supply
    outcome: Outcome
    reports: Reports
    settings: DrainSettings
    endpoint: IStreamClientEndpoint
    clock: IReactorTime
    random: Random
    _head: bytes = field(init=False)
    last_answer: Answer | None = field(default=None, init=False)
    #: The batch of the request that has no answer yet.
    _sent: _HttpBatch | None = field(default=None, init=False)
    #: Batches that go out before anything in the buffer.
    _waiting: list[_HttpBatch] = field(factory=list, init=False)
    _refusals: int = field(default=0, init=False)
    #: The number of batches in a row that were refused, and halved or lost.
    _refused_batches: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._head = _request_head(self.destination, self.drain_token)
        self.buffer.give_up = self._give_up

    # Called by the drain's lifecycle.

    @property
    def under_way(self) -> bool:
        """See :attr:`Courier.under_way`."""
        return self._sent is not None or bool(self._waiting)

    def connect(self) -> Deferred[HttpConnection]:
        """See :meth:`Courier.connect`."""
        return Deferred.fromCoroutine(self._connect())

    async def _connect(self) -> HttpConnection:
        settings = self.settings
        limits = AnswerLimits(settings.http_answer_timeout_s, settings.http_answer_bytes)
        factory = _HttpConnections(self, limits)
        connection = await open_connection(self.endpoint, factory, HttpConnection)
        self._refusals = 0
        for batch in self._waiting:
            batch.age(self.clock.seconds(), connected=True)
        return connection

    def send(self, connection: HttpConnection) -> None:
        """See :meth:`Courier.send`."""
        batch = self._waiting.pop(0) if self._waiting else self._next_batch()
        if batch is None:
            self.reports.finished()
            return
        self._sent = batch
        body = batch.notice + b"".join(batch.frames)
        connection.request(
            b"%bLogplex-Msg-Count: %d\r\nLogplex-Frame-Id: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (
                self._head,
                len(batch.frames) + (batch.loss is not None),
                batch.frame_id,
                len(body),
                body,
            )
        )

    def refused(self, why: Failure) -> float:
        """See :meth:`Courier.refused`."""
        now = self.clock.seconds()
        for batch in self._waiting:
            batch.age(now, connected=False)
        notice = not isinstance(why.value, NOTICED)
        self.outcome.failed(wall_s(self.clock), f"no connection: {explain(why)}", notice=notice)
        self._refusals += 1
        if self._refusals <= _BACKOFF_FREE:
            return 0.0
        exponent = self.random.randint(1, min(_BACKOFF_MAX_EXPONENT, self._refusals))
        return float(_BACKOFF_UNIT_S * (2**exponent - 1) / 2)

    def recall(self) -> None:
        """See :meth:`Courier.recall`."""
        self.buffer.give_up = None
        batches = [self._sent] if self._sent else []
        batches += self._waiting
        self._sent, self._waiting = None, []
        for batch in reversed(batches):
            self.buffer.put_back([_cooked(frame) for frame in batch.frames])
            self.buffer.return_loss(batch.loss)

    # Called by connections: see :class:`~logplex.drains.kinds.http_connection.Exchanges`.

    def answered(self, answer: Answer, reusable: bool) -> None:
        """
        See :meth:`Exchanges.answered`. PROTOCOL §8 has the table of answers and their meanings.
        """
        batch = self._settle()
        self.last_answer = answer
        status = answer.status
        if 200 <= status < 300:
            self.outcome.succeeded(wall_s(self.clock))
            self.buffer.told(batch.loss)
            self.buffer.deliver(len(batch.frames))
            self._refused_batches = 0
        else:
            self._answer_failed(answer)
            if not self._settle_refused(batch, answer):
                return
        if self._refused_batches > _MOST_REFUSED and self._waiting:
            self.reports.over(_REFUSED_PAUSE_S)
        elif reusable:
            self.reports.finished(at_once=batch.full or bool(self._waiting))
        else:
            self.reports.over()

    def _settle_refused(self, batch: _HttpBatch, answer: Answer) -> bool:
        """
        Split, lose or repeat a batch that the receiver has refused. Return true if the connection
        may be used again.
        """
        status, many = answer.status, len(batch.frames)
        self._refused_batches += status in _HALVED
        if status in _HALVED and many > 1:
            self._halve(batch)
        elif status in _HALVED and many:
            self.buffer.return_loss(batch.loss)
            if not self.buffer.refuse(batch.frames):
                # The buffer begins again, so the other parts of this batch come again too.
                self._waiting.clear()
                self.reports.over(self.settings.http_retry_after_max_s)
                return False
        elif 400 <= status < 500 and status not in _TRIED_AGAIN and not self.buffer.keeps:
            self._lose(batch)
        else:
            wait_s = retry_after_s(answer.retry_after, wall_s(self.clock))
            self._try_again(batch, min(wait_s, self.settings.http_retry_after_max_s))
            return False
        return True

    def unanswered(self, why: str, excusable: bool) -> None:
        """See :meth:`Exchanges.unanswered`."""
        batch = self._settle()
        if excusable:
            # Once per batch at most: the next connection will not have served before.
            self._waiting.insert(0, batch)
            self.reports.over()
            return
        self.outcome.failed(wall_s(self.clock), why)
        self._try_again(batch, 0.0)

    def left(self) -> None:
        """See :meth:`Exchanges.left`."""
        self.reports.over()

    # Making and settling batches.

    def _next_batch(self) -> _HttpBatch | None:
        queue = self.buffer.messages
        loss = self.buffer.take_loss()
        notice = l10_http_frame(wall_s(self.clock), loss.count, loss.since) if loss else b""
        if loss and self.buffer.keeps:
            # A repeated batch must not change, so the notice, which has a time, is sent alone.
            return _HttpBatch([], notice, self._random_id(), loss, full=bool(queue))
        frames, unparsable = take_http_frames(
            queue, self.settings.http_batch_bytes, self.settings.http_batch_messages
        )
        self.buffer.took(len(frames), unparsable)
        if not frames:
            self.buffer.return_loss(loss)
            return None
        return _HttpBatch(frames, notice, self._frame_id(len(frames)), loss, full=bool(queue))

    def _frame_id(self, count: int, offset: int = 0) -> bytes:
        """Return the id of a batch of sent messages; see :meth:`Supply.identify`."""
        return self.buffer.identify(offset, count) or self._random_id()

    def _random_id(self) -> bytes:
        return b"%032X" % self.random.getrandbits(128)

    def _settle(self) -> _HttpBatch:
        """Return the batch of the request that has ended, and forget the batch."""
        batch, self._sent = self._sent, None
        assert batch is not None
        return batch

    def _halve(self, batch: _HttpBatch) -> None:
        middle = len(batch.frames) // 2
        ids = self._frame_id(middle), self._frame_id(len(batch.frames) - middle, middle)
        first = _HttpBatch(batch.frames[:middle], batch.notice, ids[0], batch.loss, full=True)
        second = _HttpBatch(batch.frames[middle:], b"", ids[1], None, full=batch.full)
        self._waiting[:0] = [first, second]

    def _lose(self, batch: _HttpBatch) -> None:
        self.buffer.return_loss(batch.loss)
        self.buffer.lose(batch.frames)

    def _give_up(self) -> None:
        """
        Drop the oldest batch that waits to be sent again; see :attr:`Buffer.give_up`. The next
        batch of the buffer takes its place.
        """
        if self._waiting:
            self._lose(self._waiting.pop(0))
            if not self.under_way and (batch := self._next_batch()):
                self._waiting.append(batch)

    def _try_again(self, batch: _HttpBatch, wait_s: float) -> None:
        settings = self.settings
        batch.tries += 1
        batch.age(self.clock.seconds(), connected=True)
        left_s = settings.http_batch_max_age_s - batch.age_s
        if not self.buffer.keeps and (left_s <= 0 or batch.tries == settings.http_tries):
            self._lose(batch)
        else:
            delays = settings.http_retry_delays_s
            delay_s = delays[min(batch.tries, len(delays)) - 1] if delays else 0.0
            wait_s = max(wait_s, delay_s * self.random.uniform(1 - _JITTER, 1 + _JITTER))
            wait_s = wait_s if self.buffer.keeps else min(wait_s, left_s)
            self._waiting.insert(0, batch)
        self.reports.over(wait_s)

    def _answer_failed(self, answer: Answer) -> None:
        detail = f", which names {answer.location}" if answer.location else ""
        why = f"the receiver answered {answer.status}"
        self.outcome.failed(wall_s(self.clock), why, detail)


@define(eq=False, repr=False)
class _HttpConnections(Factory):
    """
    A factory of the connections for one attempt. A host with several addresses may need several
    connections.
    """

    noisy = False

    courier: HttpCourier
    limits: AnswerLimits

    def buildProtocol(self, addr: object) -> HttpConnection:
        courier = self.courier
        return HttpConnection(courier, self.limits, courier.clock, courier.destination.tls)


def _request_head(destination: HttpDestination, drain_token: str) -> bytes:
    """Return the part of the request head that is the same in all requests of a drain."""
    lines = [
        b"POST %b HTTP/1.1" % destination.target,
        b"Host: %b" % destination.authority,
        b"User-Agent: Logplex/%b" % __version__.encode("ascii"),
        b"Content-Type: application/logplex-1",
        b"Logplex-Drain-Token: %b" % drain_token.encode("ascii"),
    ]
    if destination.basic_auth is not None:
        lines.append(b"Authorization: Basic %b" % b64encode(destination.basic_auth))
    return b"".join(line + b"\r\n" for line in lines)


def _cooked(frame: bytes) -> bytes:
    """
    Return the message in a frame, without the fields that drains omit: host, message id and
    structured data.
    """
    _, head, time, host, source, process, _, text = frame.split(b" ", 7)
    return b"%b %b %b %b %b - - %b" % (head, time, host, source, process, text)
