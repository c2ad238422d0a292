"""
What a node takes for deleted of a configuration Redis that changes while it is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from logplex.configuration.redis.contents import Contents
from logplex.configuration.redis.reader import MARK_KEY, ConfigurationReader
from logplex.model.values import Channel, Token
from tests.contracts.configuration import Replica


class DictLink:
    """
    A link to a Redis that is a dict.

    :ivar flush_after: it is emptied after so many more commands.
    """

    connected = True

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {}
        self.flush_after: int | None = None

    def ask(self, *command: Any) -> Deferred[Any]:
        answer = getattr(self, "_" + command[0].lower())(*command[1:])
        if self.flush_after is not None:
            self.flush_after -= 1
            if self.flush_after == 0:
                self.keys.clear()
        return succeed(answer)

    def ask_all(self, commands: Sequence[Sequence[Any]]) -> Deferred[list[Any]]:
        answers: list[Any] = []
        for command in commands:
            self.ask(*command).addCallback(answers.append)
        return succeed(answers)

    def _get(self, key: str) -> Any:
        return self.keys.get(key)

    def _set(self, key: str, value: str, _: str) -> None:
        self.keys.setdefault(key, value.encode())

    def _scan(self, cursor: bytes, _: str, pattern: str, *count: object) -> tuple[bytes, Any]:
        """One key at a time."""
        found = sorted(key for key in self.keys if fnmatchcase(key, pattern))
        at = int(cursor)
        more = b"%d" % (at + 1) if at + 1 < len(found) else b"0"
        return more, [key.encode() for key in found[at : at + 1]]

    def _hgetall(self, key: bytes) -> Any:
        return self.keys.get(key.decode(), [])


class FlushTests(SynchronousTestCase):
    """Redis is emptied while everything is read."""

    def test_whenever_it_is_nothing_is_taken_for_deleted(self) -> None:
        for after in range(1, 8):
            link, contents, replica = DictLink(), Contents(), Replica()
            contents.listener = replica
            reader = ConfigurationReader(link, contents, missed=lambda: None)  # type: ignore[arg-type]
            link.keys["ch:a:data"] = [b"name", b"one"]
            link.keys["tok:t:data"] = [b"ch", b"a", b"name", b"web"]
            self.successResultOf(Deferred.fromCoroutine(reader.load()))
            everything = {Channel("a", "one"), Token("t", "a", "web")}
            self.assertEqual(replica.known(), everything)
            self.assertIn(MARK_KEY, link.keys)

            link.flush_after = after
            self.successResultOf(Deferred.fromCoroutine(reader.load()))
            self.assertEqual(link.keys.keys() - {MARK_KEY}, set(), after)
            self.assertEqual(replica.known(), everything, after)
