# SPDX-License-Identifier: Apache-2.0

"""
Replace the shards of a running node, in three steps, without losing a message (PROTOCOL §11).

All nodes must finish one step, forward or back, before any node begins the next. From the first
step to the last, every node listens to the old and the new shard of each channel that moves. So the
order of the nodes within a step does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from twisted.internet.defer import Deferred, DeferredList, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from logplex.interfaces import IReplacement, Step, StoreAway, WrongStep
from logplex.settings.bounds import check_redis_url
from logplex.spool.cluster.shard.follower import Following
from logplex.spool.cluster.shard.shard import Shard
from logplex.spool.cluster.topology import (
    Committed,
    Prepared,
    Preparing,
    Settled,
    Shards,
    doubles,
)
from logplex.waiting import together

_log = Logger()

#: A new shard that is not reached within this time is away.
_PREPARE_TIMEOUT_S = 10.0
#: The new shards are written to after this time, even if an old one has not taken what waits.
_COMMIT_TIMEOUT_S = 5.0
#: A shard that is given up gets this time to take what waits for it.
FLUSH_S = 5.0

#: The step at which a topology stands while no step is under way.
_STEPS: dict[type, Step] = {
    Settled: Step.SETTLED,
    Preparing: Step.PREPARING,
    Prepared: Step.PREPARED,
    Committed: Step.COMMITTED,
}


@implementer(IReplacement)
class Replacement:
    """
    The replacement of the shards of this node, step by step.

    :param followings: the followed channels, kept up to date.
    """

    def __init__(
        self, shards: Shards, followings: Mapping[str, Following], clock: IReactorTime
    ) -> None:
        self._shards = shards
        self._followings = followings
        self._clock = clock
        self._under_way: Step | None = None

    @property
    def step(self) -> Step:
        """See :class:`IReplacement`."""
        return self._under_way or _STEPS[type(self._shards.topology)]

    def troubles(self) -> list[str]:
        """See :class:`IReplacement`."""
        return self._troubles(self._shards.topology.all())

    async def prepare(self, urls: Sequence[str]) -> None:
        """
        Do the first step: connect to all new shards, and listen to the channels that move to them.

        Shards with the same URL are kept. If the step fails, nothing has changed.

        :raises ValueError: the URLs do not make a ring, or two of them lead to one database.
        :raises StoreAway: a new shard could not be reached in time.
        :raises WrongStep: a replacement is under way.
        """
        settled = self._shards.topology
        if self._under_way or not isinstance(settled, Settled):
            raise self._wrong_step()
        for url in urls:
            check_redis_url(url)
        preparing = settled.prepare(self._shards.make_set(urls, settled.all()))
        self._shards.topology = preparing
        with self._taking(Step.PREPARING):
            try:
                new = preparing.only_other()
                for shard in new:
                    shard.start()
                await self._reach(new)
                self._refuse_doubles(new)
                await self._listen(preparing)
            except BaseException as error:
                _log.warn("the shards are not replaced: {reason}", reason=str(error))
                await self._settle()
                raise

    async def commit(self) -> None:
        """
        Do the second step: write to the new shards.

        The step ends when the old shards have taken all waiting messages, or after
        :data:`_COMMIT_TIMEOUT_S`.

        :raises WrongStep: nothing is prepared.
        """
        prepared = self._shards.topology
        if self._under_way or not isinstance(prepared, Prepared):
            raise self._wrong_step()
        await self._switch(prepared.commit())

    async def make_permanent(self) -> None:
        """
        Do the last step: close the old shards, except those that are also new shards.

        :raises WrongStep: nothing is committed.
        """
        if self.step is not Step.COMMITTED:
            raise self._wrong_step()
        await self._settle()

    async def abort(self) -> None:
        """
        Go one step of the replacement back.

        After the second step, write to the old shards again, and still listen to the new shards,
        because other nodes may write to them. After the first step, close the new shards.

        :raises WrongStep: nothing is prepared or committed.
        """
        topology = self._shards.topology
        if self._under_way or not isinstance(topology, (Prepared, Committed)):
            raise self._wrong_step()
        if isinstance(topology, Committed):
            await self._switch(topology.abort())
        else:
            await self._settle()

    @contextmanager
    def _taking(self, step: Step) -> Iterator[None]:
        """Show a step of the replacement to operators while the work of the step is going on."""
        self._under_way = step
        try:
            yield
        finally:
            self._under_way = None

    def _wrong_step(self) -> WrongStep:
        return WrongStep(f"the replacement of the shards is at the step {self.step.value!r}")

    async def _reach(self, shards: list[Shard]) -> None:
        await self._within(_PREPARE_TIMEOUT_S, [each.when_present() for each in shards])
        troubles = self._troubles(shards)
        if troubles:
            raise StoreAway(f"not there in time: {'; '.join(troubles)}")

    @staticmethod
    def _troubles(shards: Iterable[Shard]) -> list[str]:
        return [shard.trouble for shard in shards if shard.trouble]

    def _refuse_doubles(self, new: Sequence[Shard]) -> None:
        for earlier, later in doubles(self._shards.topology.all()):
            if later in new:
                raise ValueError(
                    f"{later.name!r} is the same Redis database as {earlier.name!r}, under another"
                    " URL: every message would be shown twice"
                )

    async def _listen(self, preparing: Preparing) -> None:
        """Listen to all followed channels on the new shards too."""
        # Exactly these are followed at one home only: a follower that comes later finds both.
        followed = list(self._followings.items())
        prepared = self._shards.topology = preparing.listen()
        for channel_id, following in followed:
            if self._followings.get(channel_id) is following:
                for shard in prepared.homes(channel_id)[1:]:
                    await shard.follow(channel_id, following)
        # What was read at one home only must be heard before any node writes to the other.
        await together(shard.everything_heard() for shard in prepared.current.shards.values())

    async def _switch(self, switched: Prepared | Committed) -> None:
        """
        Write to the new shards from now on, or to the old shards if the replacement is aborted.

        A channel that moves is written to its new shard after its old shard has taken all waiting
        messages of the channel. On the new shard the numbers of the channel's messages continue
        above the clock's microseconds, because that shard may hold numbers of an earlier time.
        """
        with self._taking(Step.SWITCHING):
            shards = switched.all()
            now_us = int(self._clock.seconds() * 1_000_000)
            written = []
            for shard in shards:
                shard.outbox.raised_above = now_us
                shard.writer.hold()
                written.append(shard.writer.everything_written())
            self._shards.topology = switched
            await self._within(_COMMIT_TIMEOUT_S, written)
            late = [shard.name for shard in shards if shard.writer.is_behind]
            if late:
                _log.warn(
                    "the switch goes on, but these shards have not taken what waited for them:"
                    " {names}. They get it when they can, after newer messages.",
                    names=", ".join(late),
                )
            for shard in shards:
                shard.writer.let_go()

    async def _within(self, seconds: float, waiting: list[Deferred[None]]) -> None:
        """Wait until several results have arrived, with one timeout for all of them."""
        with suppress(TimeoutError):
            await DeferredList(waiting, consumeErrors=True).addTimeout(seconds, self._clock)

    async def _settle(self) -> None:
        """
        Receive all messages of the old and the new shards; then close the shards that this node
        does not write to.
        """
        topology = self._shards.topology
        assert not isinstance(topology, Settled)
        with self._taking(Step.SWITCHING):
            await together(shard.everything_heard() for shard in topology.all())
            for channel_id in self._followings:
                for shard in topology.homes(channel_id)[1:]:
                    shard.followers.leave(channel_id, unwritten=not topology.has_switched)
            self._shards.topology = topology.settle()
        await together(shard.close(FLUSH_S) for shard in topology.only_other())
        names = ", ".join(topology.current.ring.names)
        _log.info("the shards are: {names}", names=names)
