# SPDX-License-Identifier: Apache-2.0

"""
A connection to Redis: the protocols of txredisapi, with additions that let a link supervise them.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import txredisapi
from attrs import define, field
from hiredis import Reader
from hiredis import pack_command as _pack_command
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from logplex.interfaces import StoreAway

_log = Logger()

#: The name of a command, or one of its arguments; text is sent as UTF-8.
Argument = bytes | str | int
#: The stub of hiredis asks for a tuple with one element.
_packed: Callable[[tuple[Argument, ...]], bytes] = _pack_command  # type: ignore[assignment]
#: The codes of refusals that pass: Redis may take the same command later. Any other refusal is a
#: mistake of ours, or of the operator.
_PASSING = frozenset(
    {
        "BUSY",
        "CLUSTERDOWN",
        "LOADING",
        "MASTERDOWN",
        "MISCONF",
        "NOAUTH",
        "NOREPLICAS",
        "OOM",
        "READONLY",
        "TRYAGAIN",
    }
)
#: The codes of refusals that only a replica gives.
_CODES_OF_REPLICAS = frozenset({"MASTERDOWN", "READONLY"})
#: The reason to give up a connection to a replica.
NOT_PRIMARY = "it is not the primary"
#: Redis 6 puts the code of a command that a script called into the middle of the text.
_CODE_IN_SCRIPT = re.compile(r"-(OOM|READONLY|MISCONF|NOREPLICAS)\b")
#: What several versions of Redis say if a script calls a command that its user may not use.
_NO_PERMISSION_IN_SCRIPT = re.compile(r"user executing the script can't|ACL failure in script")


class Refused(Exception):
    """
    Redis has refused a command.

    :param text: the error text from Redis. The arguments that Redis repeats for an unknown command
        are cut off, because they may contain a password.
    :ivar code: the first word of the error text, such as ``WRONGTYPE``. If a script was refused,
        this is the code of the command that the script called, if it can be found.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text.partition(", with args")[0])
        self.code = _code(text)


def _code(text: str) -> str:
    in_script = _CODE_IN_SCRIPT.search(text)
    if in_script is not None:
        return in_script[1]
    if _NO_PERMISSION_IN_SCRIPT.search(text):
        return "NOPERM"
    return text.partition(" ")[0]


@define(eq=False, repr=False)
class _CommandBatch:
    """Redis commands that were sent together, and the answers that have arrived."""

    missing: int
    answers: list[Any] = field(factory=list)
    complete: Deferred[list[Any]] = field(factory=Deferred)

    def callback(self, answer: Any) -> bool:
        """Add an answer to the batch. Return true if it was the last answer."""
        self.answers.append(answer)
        self.missing -= 1
        return not self.missing


class _Answers:
    """
    The Redis commands that wait for answers, in order.

    This queue replaces the queue of txredisapi, which needs a Deferred for each command.

    :ivar waiting: the waiting commands and batches; empty if no command waits.
    :ivar count: the number of answers that have not arrived.
    """

    def __init__(self) -> None:
        self.waiting: deque[Deferred[Any] | _CommandBatch] = deque()
        self.count = 0

    def get(self) -> Deferred[Any]:
        """Return a Deferred that fires with the answer to the next command."""
        self.count += 1
        answer: Deferred[Any] = Deferred()
        self.waiting.append(answer)
        return answer

    def get_many(self, count: int) -> Deferred[list[Any]]:
        """
        Return a Deferred that fires with the answers to the next ``count`` commands, when all
        answers have arrived.
        """
        self.count += count
        batch = _CommandBatch(count)
        self.waiting.append(batch)
        return batch.complete

    def put(self, answer: Any) -> None:
        """Give an answer to the command that has waited longest for an answer."""
        if not self.waiting:
            return
        self.count -= 1
        first = self.waiting[0]
        if isinstance(first, Deferred):
            self.waiting.popleft()
            first.callback(answer)
        elif first.callback(answer):
            self.waiting.popleft()
            first.complete.callback(first.answers)


class _Connection:
    """
    The common part of a connection for commands and a connection for subscriptions.

    :ivar quiet: the number of checks by the link since the last bytes arrived, or since the first
        waiting command was sent.
    :ivar given_up: the reason why this node ended the connection; empty if this node did not end
        it.
    :ivar reason: the cause of the connection's loss; ``None`` while the connection exists.
    :ivar tells_role: true until Redis refuses to tell its role.
    """

    transport: Any
    quiet = 0
    given_up = ""
    reason: BaseException | None = None
    tells_role = True

    def __init__(self) -> None:
        super().__init__(charset=None, convertNumbers=False)  # type: ignore[call-arg]
        self._reader = Reader(protocolError=txredisapi.InvalidData, replyError=Refused)
        self.replyQueue = _Answers()
        self._waiting_for_end: list[Deferred[None]] = []

    def dataReceived(self, data: bytes, unpause: bool = False) -> None:
        self.quiet = 0
        try:
            super().dataReceived(data, unpause)  # type: ignore[misc]
        except txredisapi.InvalidData:
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure) -> None:
        self.reason = reason.value
        # This fails the commands that wait. Those that wait for the end are told afterwards.
        super().connectionLost(reason)  # type: ignore[misc]
        for waiting in self._waiting_for_end:
            waiting.callback(None)

    def ended(self) -> Deferred[None]:
        """Return a Deferred that fires when the connection is lost."""
        if self.reason is not None:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._waiting_for_end.append(waiting)
        return waiting

    def waiting(self) -> int:
        """Return the number of sent commands that have no answer yet."""
        return self.replyQueue.count

    def give(self, command: Sequence[Argument]) -> Deferred[Any]:
        """Send one command to Redis, and return its answer."""
        if not self.waiting():
            self.quiet = 0
        answer: Deferred[Any] = self.execute_command(*command)  # type: ignore[attr-defined]
        return answer.addErrback(self._failed)

    def give_all(self, commands: Sequence[Sequence[Argument]]) -> Deferred[list[Any]]:
        """
        Send several commands to Redis together, and return their answers. The answer to a refused
        command is its error.
        """
        if not self.waiting():
            self.quiet = 0
        self.transport.write(b"".join([_packed(tuple(command)) for command in commands]))
        return self.replyQueue.get_many(len(commands)).addCallback(self._answered)

    def ask_if_there(self) -> None:
        """
        Test if Redis answers. If Redis permits, ask for its role, in order to notice a replica.
        """
        asked = self.give_all([("ROLE",) if self.tells_role else ("PING",)])
        asked.addCallbacks(lambda answers: self.take_role(answers[0]), lambda _: None)

    def take_role(self, answer: Any) -> None:
        """Close the connection if an answer to ``ROLE`` says that Redis is not a primary."""
        if isinstance(answer, Refused):
            self.tells_role = False
        elif self.tells_role and isinstance(answer, list) and answer[0] != b"master":
            self.give_up(NOT_PRIMARY)

    def give_up(self, why: str) -> None:
        """Close the connection at once, and remember the reason ``why``."""
        if not self.given_up:
            self.given_up = why
            self.transport.abortConnection()

    def _failed(self, failure: Failure) -> Failure:
        self._raise_if_away(failure.value)
        return failure

    def _answered(self, answers: list[Any]) -> list[Any]:
        for answer in answers:
            if isinstance(answer, Exception):
                self._raise_if_away(answer)
        return answers

    def _raise_if_away(self, error: BaseException | None) -> None:
        """
        Raise :class:`StoreAway` if the error means that Redis is away. A replica counts as away,
        because only the primary can be used.
        """
        if isinstance(error, txredisapi.ConnectionError):
            raise StoreAway(self.given_up or "the connection to Redis was lost") from error
        if isinstance(error, Refused) and error.code in _PASSING:
            if error.code in _CODES_OF_REPLICAS:
                self.give_up(NOT_PRIMARY)
            raise StoreAway(f"Redis: {error}") from error

    def _build_command(self, *command: Argument, **_: object) -> bytes:
        """
        Return the bytes of a command, encoded in C. The encoder of txredisapi needs 2 µs for each
        argument.
        """
        return _packed(command)

    def tryConvertData(self, data: Any) -> Any:
        """
        Return an answer of Redis unchanged. The method of txredisapi would convert each element.
        """
        return data

    def end(self) -> Deferred[None]:
        """Close the connection at once. The result fires when the connection is closed."""
        self.transport.abortConnection()
        return self.ended()


class Commands(_Connection, txredisapi.RedisProtocol):  # type: ignore[misc]
    """A Redis connection for commands and their answers."""


class Subscriptions(_Connection, txredisapi.SubscriberProtocol):  # type: ignore[misc]
    """A Redis connection for subscriptions and published messages."""

    received: Callable[[bytes, bytes], None]

    def ask_if_there(self) -> None:
        """
        Test if Redis answers, without asking for its role. Redis does not tell its role after the
        first subscription.
        """
        self.tells_role = False
        super().ask_if_there()

    def messageReceived(self, pattern: bytes | None, channel: bytes, message: bytes) -> None:
        try:
            self.received(channel, message)
        except Exception:
            _log.failure("bug: a published message could not be processed")
