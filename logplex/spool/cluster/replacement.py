"""
Replacing the shards of a running node, in three steps, without losing a message (PROTOCOL §11).

Every node is taken through the same step, forward or back, before any goes on to the next. From
the first step to the last a node listens to both homes of a channel that moves, so it does not
matter in which order the nodes are asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from twisted.internet.defer import Deferred, DeferredList, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from logplex.interfaces import IReplacement, Step, StoreAway, WrongStep
from logplex.settings.bounds import check_redis_url
from logplex.spool.cluster.shard.follower import Listener
from logplex.spool.cluster.shard.shard import Shard
from logplex.spool.cluster.together import together
from logplex.spool.cluster.topology import ShardMap, doubles

_log = Logger()

#: New shards must be there so soon.
_PREPARE_TIMEOUT_S = 10.0
#: What the old shards have been given must be written so soon before the new ones are written to.
_COMMIT_TIMEOUT_S = 5.0
#: Waiting messages are written for so long before a shard is given up.
FLUSH_S = 5.0


@implementer(IReplacement)
class Replacement:
    """
    The three steps.

    :param listeners: of the channels that are followed, as they are at every moment.
    :ivar step: where it stands.
    """

    def __init__(
        self, shards: ShardMap, listeners: Mapping[str, Mapping[int, Listener]], clock: IReactorTime
    ) -> None:
        self._shards = shards
        self._listeners = listeners
        self._clock = clock
        #: Whether this node has committed since the first step, aborted by now or not.
        self._committed = False
        self.step = Step.SETTLED

    def troubles(self) -> list[str]:
        """See :class:`IReplacement`."""
        return self._troubles(self._shards.all())

    async def prepare(self, urls: Sequence[str]) -> None:
        """
        First step: reach all new shards, and listen to what moves to them. Shards whose URLs stay
        are kept. Where it fails everything is as before.

        :raises ValueError: these URLs make no ring, or a new one leads to the database of another.
        :raises StoreAway: a new shard was not there in time.
        :raises WrongStep: a replacement is under way.
        """
        self._expect(Step.SETTLED)
        for url in urls:
            check_redis_url(url)
        self._shards.prepare(urls)
        self._committed = False
        self.step = Step.PREPARING
        try:
            new = self._shards.only_other()
            for shard in new:
                shard.start()
            await self._reach(new)
            self._refuse_doubles(new)
            await self._listen()
        except BaseException as error:
            _log.warn("the shards are not replaced: {reason}", reason=str(error))
            await self._give_up_other()
            raise
        self.step = Step.PREPARED

    async def commit(self) -> None:
        """
        Second step: write to the new shards. Done when the old ones have been given all of theirs.

        :raises WrongStep: nothing is prepared.
        """
        self._expect(Step.PREPARED)
        self._committed = True
        await self._switch()
        self.step = Step.COMMITTED

    async def make_permanent(self) -> None:
        """
        Last step: give up the shards that are not needed any more.

        :raises WrongStep: nothing is committed.
        """
        self._expect(Step.COMMITTED)
        await self._give_up_other()

    async def abort(self) -> None:
        """
        One step back. After the commit: write to the old shards again, and go on listening to the
        new ones, because other nodes may still write there. After the first step: give the new
        shards up.

        :raises WrongStep: nothing is prepared or committed.
        """
        self._expect(Step.PREPARED, Step.COMMITTED)
        if self.step is Step.COMMITTED:
            await self._switch()
            self.step = Step.PREPARED
        else:
            await self._give_up_other()

    def _expect(self, *steps: Step) -> None:
        if self.step not in steps:
            raise WrongStep(f"the replacement of the shards is at the step {self.step.value!r}")

    async def _reach(self, shards: list[Shard]) -> None:
        await self._within(_PREPARE_TIMEOUT_S, [each.when_present() for each in shards])
        troubles = self._troubles(shards)
        if troubles:
            raise StoreAway(f"not there in time: {'; '.join(troubles)}")

    @staticmethod
    def _troubles(shards: Iterable[Shard]) -> list[str]:
        return [shard.trouble for shard in shards if shard.trouble]

    def _refuse_doubles(self, new: Sequence[Shard]) -> None:
        for earlier, later in doubles(self._shards.all()):
            if later in new:
                raise ValueError(
                    f"{later.name!r} is the same Redis database as {earlier.name!r}, under another"
                    " URL: every message would be shown twice"
                )

    async def _listen(self) -> None:
        """Listen at the second homes of all followed channels, too."""
        # Exactly these follow one home only: who comes later finds both.
        followed = [
            (channel_id, listener)
            for channel_id, listeners in self._listeners.items()
            for listener in listeners.values()
        ]
        self._shards.both = True
        for channel_id, listener in followed:
            if not listener.gone:
                for shard in self._shards.homes(channel_id)[1:]:
                    await shard.follow(channel_id, listener)
        # What was read at one home only must be heard before anybody writes to the other.
        await together(shard.everything_heard() for shard in self._shards.current.shards.values())

    async def _switch(self) -> None:
        """
        Write to the other set from now on: for a channel that moves, when its old shard has been
        given all of it, and with numbers above the clock, since the new one may know old numbers.
        """
        self.step = Step.SWITCHING
        shards = self._shards.all()
        now_us = int(self._clock.seconds() * 1_000_000)
        written = []
        for shard in shards:
            shard.outbox.raised_above = now_us
            shard.writer.hold()
            written.append(shard.writer.everything_written())
        self._shards.switch()
        await self._within(_COMMIT_TIMEOUT_S, written)
        for shard in shards:
            shard.writer.let_go()

    async def _within(self, seconds: float, waiting: list[Deferred[None]]) -> None:
        """Wait for all of them, but no longer."""
        with suppress(TimeoutError):
            await DeferredList(waiting, consumeErrors=True).addTimeout(seconds, self._clock)

    async def _give_up_other(self) -> None:
        """Hear both sets out, forget the other, and close what is only in it."""
        assert self._shards.other is not None
        self.step = Step.SWITCHING
        await together(shard.everything_heard() for shard in self._shards.all())
        for channel_id, listeners in self._listeners.items():
            for shard in self._shards.homes(channel_id)[1:]:
                for listener in listeners.values():
                    shard.unfollow(channel_id, listener, unwritten=not self._committed)
        given_up = self._shards.only_other()
        self._shards.other = None
        self._shards.both = False
        self.step = Step.SETTLED
        await together(shard.close(FLUSH_S) for shard in given_up)
        names = ", ".join(self._shards.current.placement.names)
        _log.info("the shards are: {names}", names=names)
