"""
Slows down who keeps guessing: repeated failures for one credential id from one address.

Failures are answered late, one after another, so that guessing over many connections at once is
no faster. Who knows the password is never kept waiting.
"""

from __future__ import annotations

from collections import OrderedDict

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from logplex.settings import Limits

#: So long after its last failure a pair of id and address is forgotten.
FORGET_AFTER_S = 60.0
#: No answer comes later than this, however many wait.
MAX_DELAY_S = 30.0
#: So many pairs are remembered; the one that failed longest ago is forgotten first.
MAX_PAIRS = 10_000
#: Of longer ids only the beginning is remembered.
MAX_ID_CHARACTERS = 128


@define
class _Failures:
    """
    Of one pair.

    :ivar due_s: when the last of the late answers is given.
    """

    count: int
    last_s: float
    due_s: float


@define(eq=False, repr=False)
class Throttle:
    """Remembers who failed, and how often."""

    _clock: IReactorTime
    _limits: Limits
    _pairs: OrderedDict[tuple[str, str], _Failures] = field(factory=OrderedDict, init=False)

    def judge(self, credential_id: str, address: str, is_known: bool) -> float:
        """
        Somebody tried to authenticate.

        :param credential_id: as it was given; empty where none was.
        :param address: where the request comes from.
        :param is_known: whether it succeeded.
        :return: after how many seconds the answer is to be given.
        """
        pair = (credential_id[:MAX_ID_CHARACTERS], address)
        if is_known:
            self._pairs.pop(pair, None)
            return 0.0
        now = self._clock.seconds()
        failures = self._pairs.pop(pair, None)
        if failures is None or now - failures.last_s > FORGET_AFTER_S:
            failures = _Failures(0, now, now)
        failures.count += 1
        failures.last_s = now
        self._pairs[pair] = failures
        if len(self._pairs) > MAX_PAIRS:
            self._pairs.popitem(last=False)
        if failures.count <= self._limits.auth_failures:
            return 0.0
        failures.due_s = min(
            max(now, failures.due_s) + self._limits.auth_failure_delay_s, now + MAX_DELAY_S
        )
        return failures.due_s - now
