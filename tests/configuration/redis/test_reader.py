# SPDX-License-Identifier: Apache-2.0

"""
Deleted values of a configuration Redis that changes while it is read.
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

    :ivar flush_after: the number of commands after which it is emptied.
    """

    connected = True

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {}
        self.flush_after: int | None = None
        self.run_id = b"a1"
        self.evicted = 0
        self.maxmemory = 0
        self.policy = b"noeviction"

    def evict(self, *keys: str) -> None:
        """Remove keys as Redis does if it needs memory."""
        for key in keys:
            del self.keys[key]
            self.evicted += 1

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

    def _exists(self, *keys: str) -> int:
        return sum(key in self.keys for key in keys)

    def _info(self, section: str) -> bytes:
        if section == "server":
            return b"# Server\r\nrun_id:%b\r\n" % self.run_id
        if section == "stats":
            return b"# Stats\r\nevicted_keys:%d\r\nevicted_clients:0\r\n" % self.evicted
        return b"maxmemory:%d\r\nmaxmemory_policy:%b\r\n" % (self.maxmemory, self.policy)


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


class EvictionTests(SynchronousTestCase):
    """Redis evicts keys; that does not delete their values."""

    def setUp(self) -> None:
        self.link, self.contents, self.replica = DictLink(), Contents(), Replica()
        self.contents.listener = self.replica
        self.missed: list[None] = []
        link: Any = self.link
        self.reader = ConfigurationReader(link, self.contents, lambda: self.missed.append(None))
        self.link.keys["ch:a:data"] = [b"name", b"one"]
        self.link.keys["tok:t:data"] = [b"ch", b"a", b"name", b"web"]
        self.load()
        self.everything = self.replica.known()

    def load(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.reader.load()))

    def lost_everything(self) -> bool:
        return self.successResultOf(Deferred.fromCoroutine(self.reader.lost_everything()))

    def test_a_load_that_misses_evicted_keys_forgets_nothing(self) -> None:
        self.link.evict("tok:t:data")
        self.assertTrue(self.lost_everything())
        self.load()
        self.assertEqual(self.replica.known(), self.everything)
        self.assertEqual(
            (self.contents.emptied, self.contents.loss),
            (1, "has evicted keys of the configuration"),
        )

    def test_after_a_restart_too(self) -> None:
        """Redis counts from 0 again."""
        self.link.evicted = 5
        self.load()
        self.link.run_id, self.link.evicted = b"b2", 0
        self.link.evict("tok:t:data")
        self.load()
        self.assertEqual(self.replica.known(), self.everything)

    def test_without_evictions_a_missing_key_is_a_deletion(self) -> None:
        self.link.evicted = 7
        self.load()
        del self.link.keys["tok:t:data"]
        self.load()
        self.assertEqual(self.replica.known(), {Channel("a", "one")})

    def test_an_evicted_key_that_is_read_is_not_deleted(self) -> None:
        """It was written a moment before, so that an event names it."""
        self.link.evict("tok:t:data")
        self.reader.changed(b"tok:t:data")
        self.assertEqual((self.replica.known(), len(self.missed)), (self.everything, 1))

    def test_a_deleted_key_is_deleted_even_while_others_are_evicted(self) -> None:
        self.link.evict("ch:a:data")
        del self.link.keys["tok:t:data"]
        self.reader.changed(b"tok:t:data", gone=True)
        self.assertEqual(self.replica.known(), {Channel("a", "one")})

    def test_a_key_that_is_gone_before_it_is_read_is_a_deletion(self) -> None:
        del self.link.keys["tok:t:data"]
        self.reader.changed(b"tok:t:data")
        self.assertEqual((self.replica.known(), self.missed), ({Channel("a", "one")}, []))

    def test_a_key_that_is_read_after_a_flush_is_not_deleted(self) -> None:
        """An event from before the flush names it."""
        self.link.keys.clear()
        self.reader.changed(b"tok:t:data")
        self.assertEqual((self.replica.known(), len(self.missed)), (self.everything, 1))

    def test_a_key_that_is_written_again_meanwhile_keeps_its_value(self) -> None:
        """A value that was put after the first read is newer than what that read found."""
        token = self.link.keys.pop("tok:t:data")
        ask_all = self.link.ask_all

        def write_after(commands: Sequence[Sequence[Any]]) -> Deferred[list[Any]]:
            answers = ask_all(commands)
            self.link.keys["tok:t:data"] = token
            return answers

        self.patch(self.link, "ask_all", write_after)
        changes: list[object] = []
        self.patch(self.replica, "changed", changes.append)
        self.reader.changed(b"tok:t:data")
        self.assertEqual((changes, self.missed), ([], []))

    def test_the_policy_is_told_if_it_can_evict_the_configuration(self) -> None:
        for maxmemory, policy, told in (
            (0, b"allkeys-lru", ""),
            (1, b"volatile-lru", ""),
            (1, b"allkeys-random", "allkeys-random"),
            (1, b"noeviction", ""),
        ):
            self.link.maxmemory, self.link.policy = maxmemory, policy
            self.assertFalse(self.lost_everything())
            self.assertEqual(self.reader.may_evict, told)
