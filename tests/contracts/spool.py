# SPDX-License-Identifier: Apache-2.0

"""
The contract of ``ISpool``, which every implementation keeps.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer
from zope.interface.verify import verifyObject

from logplex.interfaces import IFollower, ISpool, Recent
from tests.contracts import conversation


@implementer(IFollower)
class Witness:
    """A follower that remembers what it was told, and says when it has seen enough."""

    def __init__(self) -> None:
        self.calls: list[tuple[int | None, list[bytes]]] = []
        self._waiting: list[tuple[bytes, Deferred[None]]] = []

    def received(self, first: int | None, messages: list[bytes]) -> None:
        self.calls.append((first, messages.copy()))
        for pair in self._waiting.copy():
            if pair[0] in messages:
                self._waiting.remove(pair)
                pair[1].callback(None)

    def interrupted(self) -> None:
        raise AssertionError("interrupted")

    def resumed(self) -> None:
        raise AssertionError("resumed")

    def missed(self) -> None:
        raise AssertionError("missed")

    @property
    def entries(self) -> list[tuple[int, bytes]]:
        """Every message with its number, as they came."""
        found: list[tuple[int, bytes]] = []
        for first, messages in self.calls:
            assert first is not None
            found.extend(enumerate(messages, first))
        return found

    @property
    def messages(self) -> list[bytes]:
        return [message for _, message in self.entries]

    def saw(self, message: bytes) -> Deferred[None]:
        """Fires when this message has come."""
        if any(message in messages for _, messages in self.calls):
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._waiting.append((message, waiting))
        return waiting


class _Faulty(Witness):
    def received(self, first: int | None, messages: list[bytes]) -> None:
        raise RuntimeError("a follower's bug")


class SpoolContract:
    """
    The suite of :class:`ISpool`, with the usual 1,500 messages of a channel and a week.

    The fixture says how to make an empty spool and what its clock shows. Where the spool takes
    its time, a test waits for a follower to see the last message.
    """

    @abstractmethod
    async def empty_spool(self) -> ISpool:
        """A new spool with nothing in it, that the fixture closes."""

    @abstractmethod
    def now_us(self) -> int:
        """The clock that begins sequences, in microseconds since the epoch."""

    @abstractmethod
    async def pass_time(self, seconds: float) -> None:
        """Let the clock that ends the retention go on."""

    async def followed(self, channel_id: str = "c") -> tuple[ISpool, Witness]:
        spool, witness = await self.empty_spool(), Witness()
        await spool.join(channel_id, witness)
        return spool, witness

    @conversation
    async def test_provides_the_interface(self: Any) -> None:
        verifyObject(ISpool, await self.empty_spool())

    @conversation
    async def test_a_channel_without_messages_has_no_number(self: Any) -> None:
        spool = await self.empty_spool()
        self.assertEqual(await spool.recent("c"), Recent(0, []))

    @conversation
    async def test_messages_come_back_in_order(self: Any) -> None:
        spool, witness = await self.followed()
        spool.append("c", [b"one", b"two"])
        spool.append("c", [b"three"])
        await witness.saw(b"three")
        recent = await spool.recent("c")
        self.assertEqual([text for _, text in recent.entries], [b"one", b"two", b"three"])

    @conversation
    async def test_numbers_grow_by_one_from_the_clock(self: Any) -> None:
        spool, witness = await self.followed()
        before_us = self.now_us()
        spool.append("c", [b"one", b"two"])
        spool.append("c", [b"three"])
        await witness.saw(b"three")
        numbers = [number for number, _ in witness.entries]
        self.assertEqual(numbers, list(range(numbers[0], numbers[0] + 3)))
        self.assertTrue(before_us < numbers[0] <= self.now_us() + 1, numbers)

    @conversation
    async def test_followers_and_recent_give_the_same_numbers(self: Any) -> None:
        spool, witness = await self.followed()
        spool.append("c", [b"one", b"two"])
        await witness.saw(b"two")
        recent = await spool.recent("c")
        self.assertEqual(recent.entries, witness.entries)
        self.assertEqual(recent.last, witness.entries[-1][0])

    @conversation
    async def test_what_is_told_begins_where_the_entries_end(self: Any) -> None:
        spool = await self.empty_spool()
        texts = [b"%d" % n for n in range(60)]
        for text in texts[:20]:
            spool.append("c", [text])
        witness = Witness()
        joining = spool.join("c", witness)
        joining.addCallback(lambda recent: (recent, len(witness.entries)))
        for text in texts[20:40]:
            spool.append("c", [text])
        recent, told_before = await joining
        for text in texts[40:]:
            spool.append("c", [text])
        await witness.saw(texts[-1])
        shown = recent.entries + witness.entries[told_before:]
        self.assertEqual([text for _, text in shown], texts)

    @conversation
    async def test_a_follower_may_join_again(self: Any) -> None:
        spool, witness = await self.followed()
        spool.append("c", [b"one"])
        await witness.saw(b"one")
        recent = await spool.join("c", witness)
        self.assertEqual(recent.entries, witness.entries)
        spool.append("c", [b"two"])
        await witness.saw(b"two")
        self.assertEqual(witness.messages, [b"one", b"two"])

    @conversation
    async def test_the_newest_1500_are_kept(self: Any) -> None:
        spool, witness = await self.followed()
        texts = [b"%d" % n for n in range(2_000)]
        for start in range(0, 2_000, 300):
            spool.append("c", texts[start : start + 300])
        await witness.saw(texts[-1])
        recent = await spool.recent("c")
        self.assertEqual([text for _, text in recent.entries], texts[-1_500:])
        self.assertEqual(recent.entries, witness.entries[-1_500:])

    @conversation
    async def test_one_batch_may_be_longer_than_what_is_kept(self: Any) -> None:
        spool, witness = await self.followed()
        texts = [b"%d" % n for n in range(1_700)]
        spool.append("c", texts)
        await witness.saw(texts[-1])
        recent = await spool.recent("c")
        self.assertEqual(recent.entries, witness.entries[-1_500:])
        self.assertEqual(witness.messages, texts)

    @conversation
    async def test_what_is_not_kept_is_numbered_and_told(self: Any) -> None:
        spool, witness = await self.followed()
        spool.append("c", [b"kept"])
        spool.append("c", [b"told", b"told too"], keep=False)
        spool.append("c", [b"kept again"])
        await witness.saw(b"kept again")
        first = witness.entries[0][0]
        self.assertEqual(
            witness.entries,
            list(enumerate([b"kept", b"told", b"told too", b"kept again"], first)),
        )
        recent = await spool.recent("c")
        self.assertEqual(recent.last, first + 3)
        self.assertEqual(recent.entries, [(first, b"kept"), (first + 3, b"kept again")])

    @conversation
    async def test_an_empty_list_changes_nothing(self: Any) -> None:
        spool, witness = await self.followed()
        spool.append("c", [])
        self.assertEqual(await spool.recent("c"), Recent(0, []))
        spool.append("c", [b"one"])
        await witness.saw(b"one")
        self.assertEqual(witness.messages, [b"one"])

    @conversation
    async def test_the_callers_list_may_change_afterwards(self: Any) -> None:
        spool, witness = await self.followed()
        messages = [b"one"]
        spool.append("c", messages)
        messages[:] = [b"other"]
        spool.append("c", messages)
        messages.clear()
        await witness.saw(b"other")
        recent = await spool.recent("c")
        self.assertEqual([text for _, text in recent.entries], [b"one", b"other"])

    @conversation
    async def test_any_bytes_come_back(self: Any) -> None:
        spool, witness = await self.followed()
        texts = [bytes(range(256)), b"", b"x" * 10_240, b"123", b"\xff\r\n"]
        spool.append("c", texts)
        await witness.saw(texts[-1])
        self.assertEqual(witness.messages, texts)
        self.assertEqual([text for _, text in (await spool.recent("c")).entries], texts)

    @conversation
    async def test_channels_are_apart(self: Any) -> None:
        spool, witness = await self.followed("a")
        other = Witness()
        await spool.join("b", other)
        spool.append("a", [b"for a"])
        spool.append("b", [b"for b"])
        await witness.saw(b"for a")
        await other.saw(b"for b")
        self.assertEqual((witness.messages, other.messages), ([b"for a"], [b"for b"]))
        recent = await spool.recent("b")
        self.assertEqual([text for _, text in recent.entries], [b"for b"])

    @conversation
    async def test_every_follower_is_told(self: Any) -> None:
        spool, witness = await self.followed()
        second = Witness()
        await spool.join("c", second)
        spool.append("c", [b"one"])
        await witness.saw(b"one")
        await second.saw(b"one")
        self.assertEqual(witness.calls, second.calls)

    @conversation
    async def test_following_begins_with_the_next_message(self: Any) -> None:
        spool, early = await self.followed()
        spool.append("c", [b"before"])
        await early.saw(b"before")
        witness = Witness()
        await spool.join("c", witness)
        spool.append("c", [b"after"])
        await witness.saw(b"after")
        self.assertEqual(witness.messages, [b"after"])

    @conversation
    async def test_who_unfollows_is_told_no_more(self: Any) -> None:
        spool, witness = await self.followed()
        stays = Witness()
        await spool.join("c", stays)
        spool.leave("c", witness)
        spool.append("c", [b"one"])
        await stays.saw(b"one")
        self.assertEqual(witness.calls, [])

    @conversation
    async def test_unfollowing_what_is_not_followed_is_no_error(self: Any) -> None:
        spool, witness = await self.followed()
        spool.leave("c", Witness())
        spool.leave("other", witness)
        spool.append("c", [b"one"])
        await witness.saw(b"one")

    @conversation
    async def test_who_unfollows_may_follow_again(self: Any) -> None:
        spool, witness = await self.followed()
        spool.leave("c", witness)
        await spool.join("c", witness)
        spool.append("c", [b"one"])
        await witness.saw(b"one")
        self.assertEqual(witness.messages, [b"one"])

    @conversation
    async def test_a_follower_that_fails_costs_only_itself(self: Any) -> None:
        spool = await self.empty_spool()
        witness = Witness()
        await spool.join("c", _Faulty())
        await spool.join("c", witness)
        spool.append("c", [b"one"])
        spool.append("c", [b"two"])
        await witness.saw(b"two")
        self.assertEqual(witness.messages, [b"one", b"two"])
        self.assertTrue(self.flushLoggedErrors(RuntimeError))

    @conversation
    async def test_a_forgotten_channel_is_empty(self: Any) -> None:
        spool, witness = await self.followed()
        spool.append("c", [b"one"])
        await witness.saw(b"one")
        spool.forget("c")
        self.assertEqual((await spool.recent("c")).entries, [])

    @conversation
    async def test_numbers_grow_even_after_forgetting(self: Any) -> None:
        spool, witness = await self.followed()
        spool.append("c", [b"%d" % n for n in range(100)])
        await witness.saw(b"99")
        spool.forget("c")
        spool.append("c", [b"new"])
        await witness.saw(b"new")
        numbers = [number for number, _ in witness.entries]
        self.assertEqual(numbers, sorted(set(numbers)))

    @conversation
    async def test_forgetting_an_unknown_channel_is_no_error(self: Any) -> None:
        spool, witness = await self.followed()
        spool.forget("other")
        spool.append("c", [b"one"])
        await witness.saw(b"one")

    @conversation
    async def test_a_week_after_the_last_write_nothing_is_kept(self: Any) -> None:
        spool, witness = await self.followed()
        spool.append("c", [b"one"])
        await witness.saw(b"one")
        await self.pass_time(600_000.0)
        spool.append("c", [b"two"])
        await witness.saw(b"two")
        await self.pass_time(604_000.0)
        self.assertEqual(len((await spool.recent("c")).entries), 2)
        await self.pass_time(801.0)
        self.assertEqual((await spool.recent("c")).entries, [])

    @conversation
    async def test_a_spool_can_be_closed_without_use(self: Any) -> None:
        await (await self.empty_spool()).close()
