# SPDX-License-Identifier: Apache-2.0

"""
The shard of each channel.
"""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from logplex.spool.cluster.ring import Ring, shard_name

CHANNELS = [f"app-{number}" for number in range(20_000)]
EIGHT = [f"redis://10.0.0.{number}:6379/#shard-{number}" for number in range(8)]

urls = st.lists(
    st.integers(0, 255).map(lambda n: f"redis://10.1.0.{n}/"), min_size=1, max_size=5, unique=True
)
channel_ids = st.text("abcdefghij0123456789-", min_size=1, max_size=40)


class ShardNameTests(SynchronousTestCase):
    def test_the_sort_key_is_the_name(self) -> None:
        self.assertEqual(shard_name("redis://u:p@host:1/3#one"), "one")

    def test_else_the_url_without_user_info(self) -> None:
        self.assertEqual(shard_name("redis://u:p%40@host:1/3"), "redis://host:1/3")

    def test_a_url_needs_a_host(self) -> None:
        self.assertRaises(ValueError, shard_name, "localhost:6379")


class RingTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=30)
    @given(urls, channel_ids, st.randoms(use_true_random=False))
    def test_the_order_of_configuration_does_not_matter(
        self, urls: list[str], channel_id: str, random: Random
    ) -> None:
        shuffled = urls.copy()
        random.shuffle(shuffled)
        self.assertEqual(Ring(urls).shard_of(channel_id), Ring(shuffled).shard_of(channel_id))

    def test_no_shard_is_an_error(self) -> None:
        self.assertRaises(ValueError, Ring, [])

    def test_two_shards_of_one_name_are_an_error(self) -> None:
        error = self.assertRaises(ValueError, Ring, ["redis://a#x", "redis://b#x"])
        self.assertIn("'x'", str(error))

    def test_eight_shards_have_even_shares(self) -> None:
        load = Counter(map(Ring(EIGHT).shard_of, CHANNELS))
        for name in map(shard_name, EIGHT):
            self.assertLess(abs(load[name] / (len(CHANNELS) / 8) - 1), 0.1)

    def test_a_new_shard_takes_its_share_and_nothing_else_moves(self) -> None:
        before, after = Ring(EIGHT[:7]), Ring(EIGHT)
        moved = [each for each in CHANNELS if before.shard_of(each) != after.shard_of(each)]
        self.assertEqual({after.shard_of(each) for each in moved}, {"shard-7"})
        self.assertLess(abs(len(moved) / (len(CHANNELS) / 8) - 1), 0.1)

    @settings(deadline=None, max_examples=30)
    @given(urls, channel_ids)
    def test_removing_a_shard_moves_only_its_channels(self, urls: list[str], id: str) -> None:
        owner = Ring(urls).shard_of(id)
        for url in urls:
            left = [other for other in urls if other != url]
            if left and shard_name(url) != owner:
                self.assertEqual(Ring(left).shard_of(id), owner)

    def test_the_address_behind_a_name_does_not_matter(self) -> None:
        moved = [url.replace("10.0.0", "10.9.9") for url in EIGHT]
        self.assertEqual(
            list(map(Ring(EIGHT).shard_of, CHANNELS[:500])),
            list(map(Ring(moved).shard_of, CHANNELS[:500])),
        )

    def test_it_is_the_same_ring_in_every_release(self) -> None:
        ring = Ring(EIGHT)
        self.assertEqual(
            [ring.shard_of(each) for each in ("app-1", "app-2", "app-3", "12345")],
            ["shard-7", "shard-0", "shard-7", "shard-3"],
        )
