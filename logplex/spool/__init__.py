# SPDX-License-Identifier: Apache-2.0

"""
The newest messages of each channel, numbered, and told to the channel's followers.

:func:`make_spool` picks the implementation: in the memory of a single node, or on the shards of a
cluster. What follows is the theory of the second; its words are used in all of ``cluster/``.

**Number.** A message gets its number from its channel's *home*, the shard that the ring names.
Numbers grow, mostly by one. They may jump: a sequence that is missing begins at the clock's
microseconds, and after a restart of Redis no number is given below the clock of that moment, the
*floor*. So nothing is computed from numbers but which of two messages is newer.

**Piece, batch, origin.** A node collects the messages of each channel in the shard's *outbox*. At
a tick it *seals* what it has collected: a *piece* for each channel, many pieces in a *batch*. One
call of a script numbers, keeps and publishes a batch. A batch has an *origin* (node, start of the
node) and a number that grows; the shard remembers the last one of each origin. So a call whose
answer was lost is repeated as it was, and the shard takes it once.

**Entry.** A piece is kept as one entry of the channel's stream. It names the entry before it, and
says how many messages between the two were dropped or not kept. So a reader sees a hole in a
history. A publication says which number the channel had before it. So a follower sees a hole in
what it hears.

**Presence.** A shard is present when it takes batches, answers, and publishes to us; otherwise it
is *away*. Presence is a number that grows each time the shard comes. While a shard is away, its
channels' followers are told of this node's own messages at once, without number.

**Following, progress, position.** A channel that is followed here has one *following*, whichever
shards have it, and one *progress* for each of them. The progress knows the *position*: everything
up to this number was told, or need not be. It knows the last batch of every origin that was told,
and the own batches that were told without number. So nothing is told twice when it comes again: as
a publication, or in the history that is read after an absence.

**Join.** A follower joins at one moment, between two things that the followers are told. What was
told before is in its history, what is told later is not. The history is read after the
subscription. What the others are told while it is read, beyond its last number, is added to it.

**Replacement, raise.** While shards are replaced a channel can have two homes. Both are followed
from the first step to the last. At a switch the sequence of a channel that moves is *raised* above
the clock, since its new home may have known it before, with numbers that are too low now.
"""

from __future__ import annotations

from logplex.interfaces import IReactor, ISpool, StoreUnusable
from logplex.metrics import Counters
from logplex.settings import Settings
from logplex.settings.bounds import is_redis_url
from logplex.spool.cluster import make_cluster_spool
from logplex.spool.memory import MemorySpool


def make_spool(settings: Settings, reactor: IReactor, counters: Counters) -> ISpool:
    """
    Make the spool that the settings in ``[store]`` ask for.

    :param reactor: makes the connections to Redis, and is the clock.
    :raise StoreUnusable: a file that the settings name cannot be used, or two shards have one
        name.
    """
    if not is_redis_url(settings.store.url):
        return MemorySpool(settings.spool, reactor, counters)
    try:
        return make_cluster_spool(settings, reactor, counters)
    except ValueError as error:
        raise StoreUnusable(str(error)) from error
