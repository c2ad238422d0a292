# SPDX-License-Identifier: Apache-2.0

"""
The values that a node reads from the configuration Redis.
"""

from __future__ import annotations

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from logplex.configuration.redis.contents import Contents
from logplex.model.values import Change, Channel, Credential, Delete, Drain, Put, Token, Value
from logplex.redis.connection import Refused
from tests.contracts.configuration import Replica

#: A key, and the answer to its ``HGETALL``.
A = (b"ch:a:data", [b"name", b"one"])
B = (b"ch:b:data", [b"name", b"two"])
GONE: list[bytes] = []


class ContentsTests(SynchronousTestCase):
    """Loads, changes, and what is missing."""

    def setUp(self) -> None:
        self.replica = Replica()
        self.contents = Contents()
        self.contents.listener = self.replica

    def load(self, *read: tuple[bytes, object]) -> None:
        """A load that finds this."""
        self.contents.begin_load()
        self.contents.enter(read)
        self.contents.end_load()

    def test_the_first_load_is_told_whole_and_once(self) -> None:
        self.contents.begin_load()
        self.contents.enter([A])
        self.contents.enter([B])
        self.assertEqual((self.replica.loads, self.replica.known()), (0, set()))
        self.contents.end_load()
        self.assertEqual(self.replica.known(), {Channel("a", "one"), Channel("b", "two")})
        self.load(A)
        self.assertEqual(self.replica.loads, 1)

    def test_a_later_load_tells_the_differences(self) -> None:
        self.load(A, B)
        told: list[object] = []
        self.replica.changed = told.extend  # type: ignore[method-assign, assignment]
        self.load((A[0], [b"name", b"new"]), (b"ch:c:data", [b"name", b""]))
        self.assertEqual(told, [Put(Channel("a", "new")), Put(Channel("c")), Delete(Channel, "b")])

    def test_a_value_put_during_a_load_is_not_missing(self) -> None:
        self.load(A)
        self.contents.begin_load()
        self.contents.enter([A])
        self.contents.apply([Put(Channel("new"))])
        self.contents.end_load()
        self.assertEqual(self.replica.known(), {Channel("a", "one"), Channel("new")})

    def test_a_value_deleted_during_a_load_stays_deleted(self) -> None:
        self.load(A, B)
        self.contents.begin_load()
        self.contents.enter([A, B])
        self.contents.apply([Delete(Channel, "b")])
        self.contents.end_load()
        self.assertEqual(self.replica.known(), {Channel("a", "one")})

    def test_a_load_that_breaks_off_deletes_nothing(self) -> None:
        self.load(A, B)
        self.contents.begin_load()
        self.contents.enter([A])
        self.contents.abandon_load()
        self.assertEqual(self.replica.known(), {Channel("a", "one"), Channel("b", "two")})

    def test_an_emptied_redis_deletes_nothing(self) -> None:
        self.load(A, B)
        self.load()
        self.assertEqual(self.contents.emptied, 2)
        self.assertEqual(self.replica.known(), {Channel("a", "one"), Channel("b", "two")})

    def test_the_log_says_once_that_redis_was_emptied_and_when_it_is_filled(self) -> None:
        with capturedLogs() as events:
            self.load(A, B)
            for _ in range(3):
                self.load()
            self.load(A)
            self.load(A, B)
        self.assertEqual(
            list(map(formatEvent, events)),
            [
                "Redis was emptied; 2 values that this node knows and that are not in it stay in"
                " force",
                "Redis holds the configuration again",
            ],
        )

    def test_new_values_in_an_emptied_redis_delete_nothing(self) -> None:
        self.load(A)
        self.contents.begin_load()
        self.contents.enter([B])
        self.contents.end_load(emptied=True)
        self.assertEqual(self.contents.emptied, 1)
        self.assertEqual(self.replica.known(), {Channel("a", "one"), Channel("b", "two")})

    def test_an_emptied_redis_that_holds_everything_already_is_well(self) -> None:
        self.load(A)
        self.contents.begin_load()
        self.contents.enter([A])
        self.contents.end_load(emptied=True)
        self.assertEqual(self.contents.emptied, 0)

    def test_a_redis_that_is_filled_again_deletes_nothing_until_it_holds_everything(self) -> None:
        self.load(A, B)
        self.load()
        self.load(A)
        self.assertEqual(self.contents.emptied, 1)
        self.load(A, B)
        self.assertEqual(self.contents.emptied, 0)
        self.load(A)
        self.assertEqual(self.replica.known(), {Channel("a", "one")})

    def test_an_empty_redis_was_not_emptied_if_nothing_was_known(self) -> None:
        self.load()
        self.assertEqual((self.replica.loads, self.contents.emptied), (1, 0))

    def test_a_key_that_is_gone_is_a_deletion(self) -> None:
        self.load(A, B)
        self.contents.enter([(A[0], GONE), (b"ch:unknown:data", GONE)])
        self.assertEqual(self.replica.known(), {Channel("b", "two")})

    def test_an_unchanged_value_is_not_told(self) -> None:
        self.load(A)
        told: list[object] = []
        self.replica.changed = told.extend  # type: ignore[method-assign, assignment]
        self.contents.enter([A])
        self.assertEqual(told, [])

    def test_a_value_that_becomes_malformed_is_gone(self) -> None:
        self.load(A, (b"tok:t:data", [b"ch", b"a", b"name", b"web"]))
        self.assertEqual(self.replica.known(), {Channel("a", "one"), Token("t", "a", "web")})
        self.contents.enter([(b"tok:t:data", [b"ch", b"a"])])
        self.assertEqual(self.replica.known(), {Channel("a", "one")})

    def test_a_malformed_key_is_logged_once_and_never_whole(self) -> None:
        key = b"tok:t.4f1c8a52-secret:data"
        with capturedLogs() as events:
            for _ in range(3):
                self.load(A, (key, Refused("WRONGTYPE no hash")))
        self.assertEqual(len(events), 1)
        self.assertNotIn("secret", str(events))
        self.assertEqual(self.contents.malformed, 1)

    def test_the_highest_ids(self) -> None:
        drain = (b"drain:7:data", [b"ch", b"12", b"token", b"d"])
        self.load(A, (b"ch:12:data", [b"name", b""]), drain)
        self.assertEqual(self.contents.highest("drain_index"), 7)
        self.assertEqual(self.contents.highest("channel_index"), 12)
        self.contents.apply([Put(Drain(9, "a", "d"))])
        self.assertEqual(self.contents.highest("drain_index"), 9)

    def test_an_emptied_redis_is_noticed_between_loads_too(self) -> None:
        self.load(A, B)
        self.contents.begin_load()
        self.contents.enter([A])
        with capturedLogs() as events:
            self.contents.was_emptied()
            self.contents.was_emptied()
        self.assertEqual((self.contents.emptied, len(events)), (2, 1))
        self.contents.end_load()
        self.assertEqual(self.contents.emptied, 1)
        self.assertEqual(self.replica.known(), {Channel("a", "one"), Channel("b", "two")})

    def test_deletions_are_heard_from_an_emptied_redis_too(self) -> None:
        changes: list[Change] = [
            Delete(Channel, "a"),
            Delete(Channel, "unknown"),
            Put(Channel("c")),
        ]
        self.load(A)
        deleted = self.contents.deleted_by(changes)
        self.assertEqual(deleted, [Channel("a", "one")])
        self.contents.apply(changes)
        whole = self.contents.whole(changes, deleted, None)
        self.assertEqual(whole, [Put(Channel("a", "one")), *changes])

    def test_values_of_the_channel_are_put_before_the_changes(self) -> None:
        """The channel, its tokens and its drains; nothing of other channels."""
        self.load(A, B)
        mine: list[Value] = [Token("t", "a", "web"), Drain(7, "a", "d.7")]
        others: list[Value] = [
            Token("t2", "b", "web"),
            Drain(8, "b", "d.8"),
            Credential("c", "x", channel="a"),
        ]
        self.contents.apply([Put(each) for each in (*mine, *others)])
        changes: list[Change] = [Put(Token("new", "a", "web"))]
        whole = self.contents.whole(changes, [], "a")
        self.assertEqual(set(whole[:-1]), {Put(Channel("a", "one")), *map(Put, mine)})
        self.assertEqual(whole[-1:], changes)

    def test_an_evicted_key_deletes_nothing_until_redis_holds_everything(self) -> None:
        self.load(A, B)
        self.contents.evicted(b"ch:a:data")
        self.contents.evicted(b"ch:unknown:data")
        self.contents.evicted(b"session:x")
        self.assertEqual(self.contents.emptied, 1)
        self.load(B)
        self.assertEqual(self.replica.known(), {Channel("a", "one"), Channel("b", "two")})
        self.load(A, B)
        self.assertEqual(self.contents.emptied, 0)
        self.load(B)
        self.assertEqual(self.replica.known(), {Channel("b", "two")})
