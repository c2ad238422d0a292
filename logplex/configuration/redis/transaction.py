"""
What the configuration Redis is given in one step, and what it means that it refuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure

from logplex.configuration.redis.keys import commands_of
from logplex.interfaces import StoreAway
from logplex.model.values import Change
from logplex.redis.connection import Argument, Refused

_log = Logger()


def commands_of_all(changes: Sequence[Change]) -> list[Sequence[Argument]]:
    """The commands that make these changes, in their order."""
    return [command for each in changes for command in commands_of(each)]


def together(commands: Sequence[Sequence[Argument]]) -> Sequence[Sequence[Argument]]:
    """The same commands, to take effect in one step."""
    return [("MULTI",), *commands, ("EXEC",)] if len(commands) > 1 else commands


def check(answers: Sequence[Any]) -> None:
    """
    Look through the answers to what was given :func:`together`.

    :raise StoreAway: Redis has refused a command.
    """
    done = answers[-1] if answers and isinstance(answers[-1], list) else []
    for answer in [*answers, *done]:
        if isinstance(answer, Refused):
            raise _refused(answer)


def refusal_is_away(failure: Failure) -> Failure:
    """Errback: a command that is refused is as good as one that is not answered."""
    if isinstance(failure.value, Refused):
        raise _refused(failure.value)
    return failure


def _refused(error: Refused) -> StoreAway:
    """Keys that are not as they should be, or rights that are missing: for the operator to mend."""
    _log.error("Redis refuses a command: {error}", error=str(error))
    return StoreAway(f"Redis refuses a command: {error}")
