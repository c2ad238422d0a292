# SPDX-License-Identifier: Apache-2.0

"""
The contract of ``IConfigStore``, which every implementation keeps.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from zope.interface import implementer
from zope.interface.verify import verifyObject

from logplex.interfaces import IConfigListener, IConfigStore
from logplex.metrics import Sample
from logplex.model.values import (
    ANY_CHANNEL,
    NO_REDIS,
    NO_TAIL,
    Change,
    Channel,
    Credential,
    Delete,
    Drain,
    Put,
    Token,
    Value,
)
from tests.contracts import conversation


@implementer(IConfigListener)
class Replica:
    """A listener that knows what a registry would know, and how often it was loaded."""

    def __init__(self) -> None:
        self.values: dict[tuple[type[Any], str | int], Value] = {}
        self.loads = 0

    def loaded(self, values: Sequence[Value]) -> None:
        self.loads += 1
        self.values = {(type(value), value.id): value for value in values}

    def changed(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if isinstance(change, Put):
                self.values[type(change.value), change.value.id] = change.value
            else:
                self.values.pop((change.kind, change.id), None)

    def known(self) -> set[Value]:
        return set(self.values.values())


CHANNEL = Channel("app-1", "shop", frozenset({NO_TAIL, NO_REDIS}))
TOKEN = Token("t.1", "app-1", "web", 1_700_000_000_000_000)
DRAIN = Drain(7, "app-1", "d.7", "https://user:pa%20ss@host:8443/path?query=1#insecure")
RESERVED = Drain(8, "app-1", "d.8")
DURABLE = Drain(9, "app-1", "d.9", "http://durable/", durable=True)
CREDENTIAL = Credential("ops", "scrypt$1$2", "the operators", True, ANY_CHANNEL)
BODY = b'{"channel_id": "app-1"}'
VALUES: set[Value] = {
    CHANNEL,
    TOKEN,
    DRAIN,
    RESERVED,
    DURABLE,
    CREDENTIAL,
    Channel("2"),
    Credential("none", "x"),
}


class ConfigStoreContract:
    """
    The suite of :class:`IConfigStore`.

    A fixture says how to make an empty store, how to open one again that holds what another one
    holds, and how to let time pass.
    """

    @abstractmethod
    async def empty_store(self) -> IConfigStore:
        """A new store, not opened, with nothing in it, that the fixture closes."""

    @abstractmethod
    async def pass_time(self, seconds: float) -> None:
        """Let the clock that sessions expire by go on."""

    async def opened(self) -> tuple[IConfigStore, Replica]:
        store, replica = await self.empty_store(), Replica()
        await store.open(replica)
        return store, replica

    @conversation
    async def test_provides_the_interface(self: Any) -> None:
        verifyObject(IConfigStore, await self.empty_store())

    @conversation
    async def test_an_open_store_has_no_troubles(self: Any) -> None:
        store, _ = await self.opened()
        self.assertEqual(store.troubles(), [])

    @conversation
    async def test_samples_are_numbers_with_names(self: Any) -> None:
        store, _ = await self.opened()
        self.assertTrue(all(isinstance(each, Sample) for each in store.samples()))

    @conversation
    async def test_an_empty_store_loads_nothing_once(self: Any) -> None:
        _, replica = await self.opened()
        self.assertEqual((replica.loads, replica.values), (1, {}))

    @conversation
    async def test_the_listener_knows_a_commit_before_it_is_answered(self: Any) -> None:
        store, replica = await self.opened()
        seen: list[set[Value]] = []
        await store.commit([Put(value) for value in VALUES]).addCallback(
            lambda _: seen.append(replica.known())
        )
        self.assertEqual(seen, [VALUES])

    @conversation
    async def test_a_put_replaces_the_value_with_its_id(self: Any) -> None:
        store, replica = await self.opened()
        await store.commit([Put(CHANNEL), Put(DRAIN), Put(RESERVED), Put(TOKEN)])
        moved = Drain(8, "app-1", "d.8", "http://other/")
        await store.commit([Put(Channel("app-1", "new name")), Put(moved)])
        self.assertEqual(replica.known(), {Channel("app-1", "new name"), moved, DRAIN, TOKEN})

    @conversation
    async def test_a_delete_takes_one_value_and_no_other(self: Any) -> None:
        store, replica = await self.opened()
        await store.commit([Put(value) for value in VALUES])
        await store.commit([Delete(Token, "t.1"), Delete(Drain, 7), Delete(Credential, "ops")])
        self.assertEqual(replica.known(), VALUES - {TOKEN, DRAIN, CREDENTIAL})
        await store.commit([Delete(Channel, "app-1")])
        self.assertEqual(replica.known(), VALUES - {TOKEN, DRAIN, CREDENTIAL, CHANNEL})

    @conversation
    async def test_a_missing_value_can_be_deleted(self: Any) -> None:
        store, replica = await self.opened()
        await store.commit(
            [
                Delete(Channel, "x"),
                Delete(Token, "t.x"),
                Delete(Drain, 99),
                Delete(Credential, "x"),
            ]
        )
        self.assertEqual(replica.values, {})

    @conversation
    async def test_changes_of_one_commit_apply_in_their_order(self: Any) -> None:
        store, replica = await self.opened()
        await store.commit([Put(TOKEN), Delete(Token, TOKEN.id)])
        self.assertEqual(replica.known(), set())
        await store.commit([Delete(Token, TOKEN.id), Put(Channel("c", "a")), Put(Channel("c"))])
        self.assertEqual(replica.known(), {Channel("c")})

    @conversation
    async def test_commits_apply_in_the_order_of_their_calls(self: Any) -> None:
        store, replica = await self.opened()
        commits = [store.commit([Put(Channel("c", f"name {n}"))]) for n in range(20)]
        for commit in commits:
            await commit
        self.assertEqual(replica.known(), {Channel("c", "name 19")})

    @conversation
    async def test_an_empty_commit_is_answered_at_once(self: Any) -> None:
        store, _ = await self.opened()
        self.assertTrue(store.commit([]).called)

    @conversation
    async def test_naming_a_channel_changes_nothing(self: Any) -> None:
        store, replica = await self.opened()
        await store.commit([Put(CHANNEL)], CHANNEL.id)
        await store.commit([], CHANNEL.id)
        await store.commit([], "unknown")
        await store.commit([Put(DRAIN)], CHANNEL.id)
        self.assertEqual(replica.known(), {CHANNEL, DRAIN})

    @conversation
    async def test_a_commit_does_not_see_later_changes_of_its_list(self: Any) -> None:
        store, replica = await self.opened()
        changes: list[Change] = [Put(CHANNEL)]
        commit = store.commit(changes)
        changes.clear()
        await commit
        self.assertEqual(replica.known(), {CHANNEL})

    @conversation
    async def test_text_of_any_kind_comes_back(self: Any) -> None:
        store, replica = await self.opened()
        values: set[Value] = {
            Channel("1", "näme \x00 \n : 名"),
            Credential("ü", "pass:wörd", "", False, "1"),
            Drain(2**40, "1", "d.x", "http://h/%00?a=b&c"),
        }
        await store.commit([Put(value) for value in values])
        self.assertEqual(replica.known(), values)

    @conversation
    async def test_ids_begin_at_one_and_never_repeat(self: Any) -> None:
        store, _ = await self.opened()
        asked = [store.new_id("drain_index") for _ in range(5)]
        self.assertEqual([await each for each in asked], [1, 2, 3, 4, 5])
        await store.commit([Put(Drain(5, "c", "d.5"))])
        await store.commit([Delete(Drain, 5)])
        self.assertEqual(await store.new_id("drain_index"), 6)

    @conversation
    async def test_a_drain_that_has_an_id_keeps_it_for_itself(self: Any) -> None:
        store, _ = await self.opened()
        await store.new_id("drain_index")
        await store.commit([Put(Drain(7, "c", "d.7"))])
        self.assertEqual(await store.new_id("drain_index"), 8)

    @conversation
    async def test_counters_do_not_disturb_each_other(self: Any) -> None:
        store, _ = await self.opened()
        await store.new_id("drain_index")
        self.assertEqual(await store.new_id("channel_index"), 1)
        self.assertEqual(await store.count_healthcheck(), 1)
        self.assertEqual(await store.count_healthcheck(), 2)

    @conversation
    async def test_a_session_is_given_as_often_as_asked(self: Any) -> None:
        store, _ = await self.opened()
        body = b'{"channel_id": "app-1"}\x00\xff'
        await store.put_session("uuid", body, 360.0)
        self.assertEqual(await store.get_session("uuid"), body)
        await self.pass_time(359.0)
        self.assertEqual(await store.get_session("uuid"), body)

    @conversation
    async def test_a_session_expires_when_its_time_is_over(self: Any) -> None:
        store, _ = await self.opened()
        await store.put_session("uuid", b"{}", 360.0)
        await self.pass_time(360.0)
        self.assertIsNone(await store.get_session("uuid"))

    @conversation
    async def test_an_unknown_session_is_none(self: Any) -> None:
        store, _ = await self.opened()
        await store.put_session("one", b"{}", 360.0)
        self.assertIsNone(await store.get_session("other"))

    @conversation
    async def test_a_renewed_session_lives_for_its_new_time(self: Any) -> None:
        store, _ = await self.opened()
        for session_id in ("one", "two"):
            await store.put_session(session_id, BODY, 360.0)
        await self.pass_time(300.0)
        await store.renew_sessions({"one": "app-1", "unknown": "app-1"}, 360.0)
        await self.pass_time(300.0)
        self.assertEqual(await store.get_session("one"), BODY)
        self.assertIsNone(await store.get_session("two"))
        await self.pass_time(60.0)
        self.assertIsNone(await store.get_session("one"))
        self.assertIsNone(await store.get_session("unknown"))

    @conversation
    async def test_a_session_that_has_ended_is_not_renewed(self: Any) -> None:
        store, _ = await self.opened()
        await store.put_session("one", BODY, 360.0)
        await self.pass_time(360.0)
        await store.renew_sessions({"one": "app-1"}, 360.0)
        self.assertIsNone(await store.get_session("one"))

    @conversation
    async def test_ended_sessions_are_told(self: Any) -> None:
        store, _ = await self.opened()
        ids = [f"session-{n}" for n in range(1_200)]
        for session_id in ids:
            await store.put_session(session_id, BODY, 360.0)
        self.assertEqual(await store.ended_sessions([]), [])
        self.assertEqual(await store.ended_sessions(ids), [])
        for gone in (0, 17, 700):
            self.assertTrue(await store.end_session(ids[gone]))
        ended = await store.ended_sessions(["unknown", *ids])
        self.assertEqual(sorted(ended), ["session-0", "session-17", "session-700", "unknown"])
        await self.pass_time(360.0)
        self.assertEqual(sorted(await store.ended_sessions(ids)), sorted(ids))

    @conversation
    async def test_ending_a_session(self: Any) -> None:
        store, _ = await self.opened()
        await store.put_session("one", BODY, 360.0)
        self.assertTrue(await store.end_session("one"))
        self.assertFalse(await store.end_session("one"))
        self.assertIsNone(await store.get_session("one"))

    @conversation
    async def test_ending_all_sessions_of_a_channel(self: Any) -> None:
        store, _ = await self.opened()
        other = b'{"channel_id": "app-2"}'
        for session_id, body in (("one", BODY), ("two", BODY), ("other", other), ("none", b"{")):
            await store.put_session(session_id, body, 360.0)
        await self.pass_time(300.0)
        await store.renew_sessions({"two": "app-1"}, 360.0)
        await store.end_sessions("app-1")
        await store.end_sessions("app-1")
        self.assertEqual(
            sorted(await store.ended_sessions(["one", "two", "other", "none"])), ["one", "two"]
        )
        self.assertEqual(await store.get_session("other"), other)

    @conversation
    async def test_sessions_and_counters_are_not_told_to_the_listener(self: Any) -> None:
        store, replica = await self.opened()
        await store.put_session("one", b"{}", 360.0)
        await store.new_id("channel_index")
        self.assertEqual(replica.values, {})

    @conversation
    async def test_a_store_that_was_never_opened_can_be_closed_twice(self: Any) -> None:
        store = await self.empty_store()
        await store.close()
        await store.close()

    @conversation
    async def test_close_finishes_open_operations(self: Any) -> None:
        store, replica = await self.opened()
        commit = store.commit([Put(CHANNEL)])
        await store.close()
        self.assertTrue(commit.called)
        self.assertEqual(replica.known(), {CHANNEL})


class DurableConfigStoreContract(ConfigStoreContract):
    """The suite of stores that outlive their process."""

    @abstractmethod
    async def another_store(self) -> IConfigStore:
        """A new store, not opened, on what the last one of the fixture was on."""

    async def opened_again(self, store: IConfigStore) -> tuple[IConfigStore, Replica]:
        await store.close()
        again, replica = await self.another_store(), Replica()
        await again.open(replica)
        return again, replica

    @conversation
    async def test_everything_is_there_again(self: Any) -> None:
        store, _ = await self.opened()
        await store.commit([Put(value) for value in VALUES] + [Put(Channel("gone"))])
        await store.commit([Delete(Channel, "gone")])
        _, replica = await self.opened_again(store)
        self.assertEqual((replica.loads, replica.known()), (1, VALUES))

    @conversation
    async def test_counters_go_on(self: Any) -> None:
        store, _ = await self.opened()
        await store.new_id("drain_index")
        store, _ = await self.opened_again(store)
        self.assertEqual(await store.new_id("drain_index"), 2)

    @conversation
    async def test_sessions_go_on_for_the_rest_of_their_time(self: Any) -> None:
        store, _ = await self.opened()
        await store.put_session("uuid", b"{}", 360.0)
        store, _ = await self.opened_again(store)
        self.assertEqual(await store.get_session("uuid"), b"{}")
        await self.pass_time(360.0)
        self.assertIsNone(await store.get_session("uuid"))
