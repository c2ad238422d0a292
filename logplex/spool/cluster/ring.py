"""
Which shard keeps a channel: pure arithmetic on names, the same on every node and after a restart.

Two placements share one shape: the consistent ring moves only a new shard's share of the
channels; the original's slots are for clusters in which Erlang nodes still run (PROTOCOL §10).
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from hashlib import blake2b, md5
from urllib.parse import urlsplit, urlunsplit

#: A shard's points on the ring. The standard deviation of a shard's share is one over its root:
#: 1.6 %, so that ten shards stay within 5 % of an even share.
POINTS_PER_SHARD = 4_096

_POINTS_PER_DIGEST = 8


class Placement:
    """
    Channel id to shard name.

    :ivar names: the shards' names, in an order that does not depend on the configuration's.
    """

    def __init__(self, names: Sequence[str], locate: Callable[[str], int]) -> None:
        self.names = tuple(names)
        self._locate = locate

    def shard_of(self, channel_id: str) -> str:
        """The name of the shard that keeps this channel."""
        return self.names[self._locate(channel_id)]


def shard_name(url: str) -> str:
    """
    What a shard is called, wherever it is: its URL's fragment, else the URL without user info.

    :raises ValueError: the URL has no host.
    """
    parts = urlsplit(url)
    if not parts.hostname:
        raise ValueError("a shard's URL needs a host")
    return parts.fragment or urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def consistent(urls: Sequence[str]) -> Placement:
    """
    A ring on which every shard owns many short arcs: those that end at its points.

    :param urls: of the shards, in any order.
    :raises ValueError: no URL, one without host, or two shards of one name.
    """
    names = sorted(_distinct_names(urls))
    points = sorted(
        (point, index) for index, name in enumerate(names) for point in _points_of(name)
    )
    positions = array("Q", [point for point, _ in points])
    owners = array("I", [index for _, index in points])

    def locate(channel_id: str) -> int:
        place = bisect_right(positions, _position_of(channel_id))
        return owners[place if place < len(owners) else 0]

    return Placement(names, locate)


def erlang(urls: Sequence[str]) -> Placement:
    """
    The original's slots: the MD5 of the channel's id, cut into equal intervals over the shards,
    which are ordered by sort key, else by URL.

    :param urls: of the shards, as the Erlang nodes have them.
    :raises ValueError: as :func:`consistent`.
    """
    _distinct_names(urls)
    names = [shard_name(url) for url in sorted(urls, key=lambda url: urlsplit(url).fragment or url)]
    interval = (1 << 128) // len(names) + 1

    def locate(channel_id: str) -> int:
        digest = md5(channel_id.encode(), usedforsecurity=False).digest()
        return int.from_bytes(digest, "big") // interval

    return Placement(names, locate)


#: The values of the option ``[store] ring``.
RINGS: dict[str, Callable[[Sequence[str]], Placement]] = {
    "consistent": consistent,
    "erlang": erlang,
}


def _distinct_names(urls: Sequence[str]) -> list[str]:
    names = [shard_name(url) for url in urls]
    if not names:
        raise ValueError("there must be at least one shard")
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two shards are called {name!r}: give each its own #name")
    return names


def _points_of(name: str) -> list[int]:
    points = array("Q")
    for number in range(POINTS_PER_SHARD // _POINTS_PER_DIGEST):
        digest = blake2b(b"%d#%b" % (number, name.encode())).digest()
        points.extend(int.from_bytes(digest[at : at + 8], "big") for at in range(0, 64, 8))
    return list(points)


def _position_of(channel_id: str) -> int:
    return int.from_bytes(blake2b(channel_id.encode(), digest_size=8).digest(), "big")
