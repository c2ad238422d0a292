# SPDX-License-Identifier: Apache-2.0

"""The registry: values by id, the values of a channel, and the observers that are told."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyClass

from logplex.interfaces import IChannelObserver, IConfigListener, IDrainObserver
from logplex.model.values import Change, Channel, Credential, Delete, Drain, Put, Token, Value
from logplex.routing.registry import Registry
from tests.doubles.interfaces import ListOutlet


@implementer(IChannelObserver, IDrainObserver)
@define(eq=False)
class Observer:
    """An observer that keeps the values it was told."""

    channels: dict[str, Channel] = field(factory=dict)
    drains: dict[int, Drain] = field(factory=dict)
    told: list[str] = field(factory=list)

    def channel_put(self, channel: Channel) -> None:
        self.told.append(f"channel_put {channel.id}")
        self.channels[channel.id] = channel

    def channel_deleted(self, channel_id: str) -> None:
        self.told.append(f"channel_deleted {channel_id}")
        del self.channels[channel_id]

    def drain_put(self, drain: Drain) -> None:
        self.told.append(f"drain_put {drain.id}")
        self.drains[drain.id] = drain

    def drain_deleted(self, drain: Drain) -> None:
        self.told.append(f"drain_deleted {drain.id}")
        del self.drains[drain.id]


CHANNEL = Channel("c")
TOKEN = Token("t.1", "c", "app", 1)
DRAIN = Drain(1, "c", "d.1", "http://h/")


class RegistryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.registry = Registry()

    def test_interfaces(self) -> None:
        verifyClass(IConfigListener, Registry)
        verifyClass(IChannelObserver, Observer)
        verifyClass(IDrainObserver, Observer)

    def test_it_is_ready_once_it_was_loaded_even_from_an_empty_store(self) -> None:
        self.assertFalse(self.registry.ready)
        self.registry.loaded([])
        self.assertTrue(self.registry.ready)

    def test_everything_is_found_by_its_id(self) -> None:
        credential = Credential("me", "secret")
        self.registry.loaded([CHANNEL, TOKEN, DRAIN, credential])
        self.assertEqual(self.registry.channel("c"), CHANNEL)
        self.assertEqual(self.registry.token("t.1"), TOKEN)
        self.assertEqual(self.registry.drain(1), DRAIN)
        self.assertEqual(self.registry.credential("me"), credential)
        self.assertEqual(list(self.registry.channels()), [CHANNEL])
        self.assertEqual(
            self.registry.counts(), {"channel": 1, "token": 1, "drain": 1, "credential": 1}
        )

    def test_nothing_is_found_where_nothing_is(self) -> None:
        self.assertIsNone(self.registry.channel("c"))
        self.assertIsNone(self.registry.stream("c"))
        self.assertEqual(self.registry.tokens_of("c"), ())
        self.assertEqual(self.registry.drains_of("c"), ())

    def test_a_channels_tokens_are_in_the_order_of_their_making(self) -> None:
        newer, older = Token("t.a", "c", "app", 2), Token("t.b", "c", "app", 1)
        self.registry.loaded([CHANNEL, newer, older])
        self.assertEqual(self.registry.tokens_of("c"), (older, newer))

    def test_a_channels_drains_are_in_the_order_of_their_ids(self) -> None:
        second, first = Drain(2, "c", "d.2"), Drain(1, "c", "d.1")
        self.registry.loaded([second, CHANNEL, first])
        self.assertEqual(self.registry.drains_of("c"), (first, second))

    def test_a_token_leads_nowhere_until_its_channel_is_known(self) -> None:
        self.registry.changed([Put(TOKEN)])
        self.assertNotIn(b"t.1", self.registry.routes)
        self.registry.changed([Put(CHANNEL)])
        self.assertIs(self.registry.routes[b"t.1"][2], self.registry.stream("c"))
        self.registry.changed([Delete(Channel, "c")])
        self.assertNotIn(b"t.1", self.registry.routes)

    def test_a_renamed_token_leads_on_under_its_new_name(self) -> None:
        self.registry.loaded([CHANNEL, TOKEN])
        self.registry.changed([Put(Token("t.1", "c", "worker", 1))])
        self.assertEqual(self.registry.routes[b"t.1"][0], b"worker")
        self.assertEqual(len(self.registry.tokens_of("c")), 1)

    def test_a_value_that_changes_its_channel_leaves_the_old_one(self) -> None:
        self.registry.loaded([CHANNEL, Channel("other"), TOKEN, DRAIN])
        self.registry.changed(
            [Put(Token("t.1", "other", "app", 1)), Put(Drain(1, "other", "d.1", "http://h/"))]
        )
        self.assertEqual(self.registry.tokens_of("c"), ())
        self.assertEqual(self.registry.drains_of("c"), ())
        self.assertIs(self.registry.routes[b"t.1"][2], self.registry.stream("other"))

    def test_outlets_stay_with_a_channel_that_is_put_again(self) -> None:
        outlet = ListOutlet()
        self.registry.loaded([CHANNEL])
        self.registry.attach("c", outlet)
        self.registry.changed([Put(Channel("c", "a name"))])
        stream = self.registry.stream("c")
        assert stream is not None
        self.assertEqual(stream.outlets, (outlet,))
        self.registry.detach("c", outlet)
        self.assertEqual(stream.outlets, ())

    def test_detaching_from_a_channel_that_is_gone_is_no_error(self) -> None:
        self.registry.detach("c", ListOutlet())

    def test_an_observer_is_told_what_is_known_and_what_changes(self) -> None:
        self.registry.loaded([CHANNEL, DRAIN])
        observer = Observer()
        self.registry.observe_channels(observer)
        self.registry.observe_drains(observer)
        self.registry.changed([Delete(Drain, 1), Delete(Channel, "c")])
        self.assertEqual(
            observer.told, ["channel_put c", "drain_put 1", "drain_deleted 1", "channel_deleted c"]
        )

    def test_observers_are_not_told_of_unchanged_values(self) -> None:
        self.registry.loaded([CHANNEL, DRAIN])
        observer = Observer()
        self.registry.observe_channels(observer)
        self.registry.observe_drains(observer)
        observer.told.clear()
        self.registry.loaded([CHANNEL, DRAIN])
        self.registry.changed([Delete(Channel, "unknown"), Delete(Drain, 99)])
        self.assertEqual(observer.told, [])

    def test_an_observer_that_fails_costs_only_itself(self) -> None:
        class Broken(Observer):
            def channel_put(self, channel: Channel) -> None:
                raise ZeroDivisionError

        observer = Observer()
        self.registry.observe_channels(Broken())
        self.registry.observe_drains(Broken())
        self.registry.observe_channels(observer)
        self.registry.observe_drains(observer)
        self.registry.changed([Put(CHANNEL)])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(observer.channels, {"c": CHANNEL})

    def test_a_deleted_channel_leaves_nothing_behind(self) -> None:
        self.registry.loaded([CHANNEL, TOKEN, DRAIN])
        self.registry.changed([Delete(Token, "t.1"), Delete(Drain, 1), Delete(Channel, "c")])
        self.assertEqual(list(self.registry.streams()), [])
        self.assertEqual(self.registry.routes, {})
        self.assertEqual(sum(self.registry.counts().values()), 0)


_channel_ids = st.sampled_from(["a", "b"])
_values: st.SearchStrategy[Value] = st.one_of(
    st.builds(Channel, _channel_ids, st.sampled_from(["", "name"])),
    st.builds(
        Token, st.sampled_from(["t.1", "t.2"]), _channel_ids, st.just("n"), st.integers(0, 3)
    ),
    st.builds(
        Drain,
        st.integers(1, 2),
        _channel_ids,
        st.just("d"),
        st.sampled_from([None, "http://h/"]),
    ),
)
_changes: st.SearchStrategy[Change] = st.one_of(
    st.builds(Put, _values),
    _values.map(lambda value: Delete(type(value), value.id)),
)


class AnyHistoryTests(SynchronousTestCase):
    """Whatever the order of events, the end is the same as loading the end at once."""

    def picture(self, registry: Registry, observer: Observer) -> object:
        return (
            {key: (route[0], route[2].id) for key, route in registry.routes.items()},
            sorted(channel.id for channel in registry.channels()),
            [set(registry.tokens_of(each)) for each in "ab"],
            [registry.drains_of(each) for each in "ab"],
            observer.channels,
            observer.drains,
        )

    @settings(deadline=None)
    @given(st.lists(_changes, max_size=30), st.lists(_values, max_size=6))
    def test_changes_and_a_reload(self, changes: Sequence[Change], before: Sequence[Value]) -> None:
        walked, observer = Registry(), Observer()
        walked.observe_channels(observer)
        walked.observe_drains(observer)
        walked.loaded(before)
        walked.changed(changes)

        end = {(type(value), value.id): value for value in before}
        for change in changes:
            if isinstance(change, Put):
                end[type(change.value), change.value.id] = change.value
            else:
                end.pop((change.kind, change.id), None)
        loaded, other = Registry(), Observer()
        loaded.observe_channels(other)
        loaded.observe_drains(other)
        loaded.loaded(list(end.values()))
        self.assertEqual(self.picture(walked, observer), self.picture(loaded, other))

        walked.loaded(list(before))
        loaded.loaded(list(before))
        self.assertEqual(self.picture(walked, observer), self.picture(loaded, other))
