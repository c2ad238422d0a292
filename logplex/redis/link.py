# SPDX-License-Identifier: Apache-2.0

"""
A link to one Redis: a connection that is made again each time it is lost.

Each command gets an answer, or fails with :class:`StoreAway`, within a limited time. No command
waits for a Redis that is away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from logplex.interfaces import StoreAway
from logplex.redis.address import RedisAddress
from logplex.redis.connection import NOT_PRIMARY, Argument, Commands, Refused, Subscriptions
from logplex.redis.sentinel import SentinelAddress

_log = Logger()

Address = RedisAddress | SentinelAddress
#: A timeout is counted in looks at the connection, so that a node that was too busy to look does
#: not take Redis for silent.
_LOOKS = 5
_LOST = "the connection was lost"
_SILENT = "it does not answer"
_ELSEWHERE = "the primary is elsewhere now"


@frozen
class LinkBounds:
    """
    The timeouts and limits of a link to Redis.

    :ivar answer_timeout_s: the time after which Redis counts as away, if commands wait and no byte
        arrives. (It can take a fifth longer.)
    :ivar ping_interval_s: the time without commands and answers after which the link tests if Redis
        answers. This time is below a second, the shortest ``timeout`` of a Redis, which closes
        unused connections.
    :ivar waiting_commands: the maximum number of commands without an answer. A further command
        fails at once.
    :ivar retry_delay_s: the time between the first two attempts to connect. The time doubles after
        each failure.
    """

    answer_timeout_s: float = 1.5
    ping_interval_s: float = 0.9
    waiting_commands: int = 10_000
    retry_delay_s: float = 0.1
    max_retry_delay_s: float = 2.0


def nothing() -> None:
    """Do nothing. This function is the default of ``up`` and ``down``."""


class Connect(Protocol):
    """A function that makes a link to a Redis. The link is not started yet."""

    def __call__(
        self,
        *,
        name: str,
        up: Callable[[], None] = ...,
        down: Callable[[], None] = ...,
        received: Callable[[bytes, bytes], None] | None = ...,
    ) -> RedisLink:
        """Return a new link. The arguments are those of :class:`RedisLink`."""


class RedisLink:
    """
    A link to a Redis server. It connects, and connects again after every loss, from :meth:`start`
    to :meth:`stop`.

    :param name: the name of the link in the log, such as ``configuration`` or ``shard a``.
    :param up: called each time a connection can be used: the user is authenticated, and the
        database is selected.
    :param down: called each time the connection is lost, after the waiting commands have failed,
        but not after :meth:`stop`.
    :param received: called with the channel and the body of each published message. A link with
        this argument can only send ``(P)SUBSCRIBE`` and similar commands, with one channel per
        command.
    :param jitter: returns a random number from 0 to 1.
    :param demoted: called when the link has closed a connection because Redis is not a primary.
    """

    def __init__(
        self,
        address: Address,
        endpoint: IStreamClientEndpoint,
        clock: IReactorTime,
        jitter: Callable[[], float],
        *,
        name: str,
        up: Callable[[], None] = nothing,
        down: Callable[[], None] = nothing,
        received: Callable[[bytes, bytes], None] | None = None,
        demoted: Callable[[], None] = nothing,
        bounds: LinkBounds | None = None,
    ) -> None:
        self.address = address
        self.name = name
        self._endpoint = endpoint
        self._clock = clock
        self._jitter = jitter
        self._up = up
        self._down = down
        self._received = received
        self._demoted = demoted
        self._bounds = bounds or LinkBounds()
        self._life: Deferred[None] | None = None
        self._stopping = False
        self._connection: Any = None
        self._away_because = "not connected yet"
        self._told_away = False

    @property
    def connected(self) -> bool:
        """True while commands can be sent to Redis."""
        return self._connection is not None and self._connection.reason is None

    @property
    def trouble(self) -> str | None:
        """
        The reason why Redis is away, in one line for operators; ``None`` if Redis is connected.
        """
        if self.connected:
            return None
        connection = self._connection
        because = self._away_because if connection is None else connection.given_up or _LOST
        return f"Redis ({self.name}, {self.address}) is away: {because}"

    def start(self) -> None:
        """Connect to Redis, and connect again each time the connection is lost."""
        self._life = Deferred.fromCoroutine(self._live())
        self._life.addErrback(self._ended)

    def stop(self) -> Deferred[None]:
        """
        Close the connection to Redis for good. The result fires when it is closed. The link may be
        stopped without :meth:`start`.
        """
        self._stopping = True
        life, self._life = self._life, None
        if life is None:
            return succeed(None)
        life.cancel()
        return life

    def renew(self) -> None:
        """
        Close the present connection, because Redis has another primary now, and connect again.
        """
        if self.connected:
            self._connection.give_up(_ELSEWHERE)

    def ask(self, *command: Argument) -> Deferred[Any]:
        """
        Send a command to Redis, and return its answer. Text in the answer is ``bytes``.

        The result fails with :class:`StoreAway`, or with ``Refused`` if Redis refuses the command.
        """
        refusal = self._refusal(1)
        if refusal is not None:
            return fail(refusal)
        answer: Deferred[Any] = self._connection.give(command)
        return answer

    def ask_all(self, commands: Sequence[Sequence[Argument]]) -> Deferred[list[Any]]:
        """
        Send several commands to Redis together, and return all answers in order.

        The answer to a refused command is its ``Refused``. The result fails only with
        :class:`StoreAway`.
        """
        if not commands:
            return succeed([])
        refusal = self._refusal(len(commands))
        if refusal is not None:
            return fail(refusal)
        answers: Deferred[list[Any]] = self._connection.give_all(commands)
        return answers

    def transact(self, commands: Sequence[Sequence[Argument]]) -> Deferred[list[Any]]:
        """
        Send commands to Redis in one transaction, and return their answers in order.

        The result fails with :class:`StoreAway`, or with ``Refused`` if Redis refuses one of the
        commands.
        """
        if len(commands) < 2:
            return self.ask_all(commands).addCallback(_taken)
        answers = self.ask_all([("MULTI",), *commands, ("EXEC",)]).addCallback(_taken)
        return answers.addCallback(lambda answers: _taken(answers[-1]))

    def _refusal(self, commands: int) -> StoreAway | None:
        """
        Return the reason why this number of commands cannot be sent now; ``None`` if they can be
        sent.
        """
        if not self.connected:
            return StoreAway(self.trouble)
        if self._connection.waiting() + commands > self._bounds.waiting_commands:
            return StoreAway(f"too many commands wait for Redis ({self.name})")
        return None

    async def _live(self) -> None:
        failures = 0
        while True:
            try:
                connection = await self._connect()
            except CancelledError:
                raise
            except Exception as error:
                failures += 1
                self._is_away(str(error) or type(error).__name__)
            else:
                failures = 0
                await self._use(connection)
            if self._stopping:
                return
            await deferLater(self._clock, self._delay_s(failures))

    async def _connect(self) -> Any:
        """Connect to Redis. Return the connection when it is ready for commands."""
        connection: Any = await self._endpoint.connect(_OneProtocol(self._protocol()))
        watch = LoopingCall(self._look, connection)
        watch.clock = self._clock
        watch.start(self._bounds.answer_timeout_s / _LOOKS, now=False)
        connection.ended().addCallback(lambda _: watch.stop())
        try:
            await self._greet(connection)
        except BaseException as error:
            # If the connection was lost, its reason says more than the error of the command.
            lost_because = connection.reason
            await connection.end()
            if connection.given_up:
                raise StoreAway(connection.given_up) from error
            if lost_because is not None and isinstance(error, StoreAway):
                raise lost_because from error
            raise
        return connection

    async def _greet(self, connection: Any) -> None:
        address = self.address
        if address.password:
            who = [address.user] if address.user else []
            await connection.give(["AUTH", *who, address.password])
        if address.db:
            await connection.give(["SELECT", address.db])
        alive, role = await connection.give_all([("PING",), ("ROLE",)])
        if isinstance(alive, Refused):
            raise alive
        connection.take_role(role)
        if connection.given_up:
            raise StoreAway(connection.given_up)

    async def _use(self, connection: Any) -> None:
        """Use a connection for commands until the connection is lost."""
        lost = connection.ended()
        self._connection = connection
        self._told_away = False
        _log.info("Redis ({name}) is connected: {address}", name=self.name, address=self.address)
        self._tell(self._up)
        try:
            # The callback may have stopped the link, and a running coroutine is not cancelled.
            if not self._stopping:
                await lost
        finally:
            self._connection = None
            await connection.end()
            if not self._stopping:
                self._is_away(connection.given_up or _LOST)
                self._tell(self._down)
                if connection.given_up == NOT_PRIMARY:
                    self._tell(self._demoted)

    def _protocol(self) -> Any:
        if self._received is None:
            return Commands()
        subscriptions = Subscriptions()
        subscriptions.received = self._received
        return subscriptions

    def _look(self, connection: Any) -> None:
        """
        Check a connection: close it if Redis does not answer, and send a PING if it is unused.
        """
        connection.quiet += 1
        quiet_s = connection.quiet * self._bounds.answer_timeout_s / _LOOKS
        if connection.waiting():
            if connection.quiet > _LOOKS:
                connection.give_up(_SILENT)
        elif quiet_s >= self._bounds.ping_interval_s:
            connection.ask_if_there()

    def _delay_s(self, failures: int) -> float:
        bounds = self._bounds
        delay_s = min(bounds.max_retry_delay_s, bounds.retry_delay_s * 2.0 ** min(failures, 30) / 2)
        return delay_s * (1 + self._jitter()) / 2

    def _is_away(self, because: str) -> None:
        self._away_because = because
        if not self._told_away:
            self._told_away = True
            _log.warn("{trouble}", trouble=self.trouble)

    def _tell(self, event: Callable[[], None]) -> None:
        try:
            event()
        except Exception:
            _log.failure("bug: the user of Redis ({name}) failed", name=self.name)

    def _ended(self, failure: Failure) -> None:
        if not (self._stopping and isinstance(failure.value, CancelledError)):
            _log.failure("bug: the link to Redis ({name}) ended", failure, name=self.name)


def _taken(answers: list[Any]) -> list[Any]:
    for answer in answers:
        if isinstance(answer, Refused):
            raise answer
    return answers


class _OneProtocol(Factory):
    """A factory that makes a single connection to Redis."""

    noisy = False

    def __init__(self, protocol: Any) -> None:
        self._made = protocol

    def buildProtocol(self, addr: object) -> Any:
        return self._made
