"""
One follower of a channel: what it has been told, and how far it has come on each shard.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, field
from twisted.logger import Logger

from logplex.interfaces import IFollower
from logplex.spool.cluster.wire.scripts import Origin, Published

_log = Logger()

#: Publications that wait for one listener while the history is read, and their messages' bytes.
_HELD_PUBLICATIONS = 1_000
_HELD_BYTES = 4_194_304
#: So many are not written to a channel while a publication is on its way. One that is further
#: behind the last reading belongs to a sequence that began anew, below the clock of before.
_OVERTAKEN_MESSAGES = 10_000
#: Lives of nodes whose last batch is remembered for one listener; the one heard first goes first.
_ORIGINS = 256


@define(eq=False, repr=False)
class Listener:
    """
    A follower of a channel, whichever shards have the channel's messages.

    While shards are replaced a channel can live on two. Then the follower is away when one of
    them is, and numbers that would not grow are left out.

    :ivar gone: it does not follow any more, and is told nothing.
    :ivar turns: the number of times that a shard went away or came back.
    """

    follower: IFollower
    _last: int = 0
    _away: int = 0
    _complete: bool = True
    gone: bool = False
    turns: int = 0

    def leave(self) -> None:
        """Tell it nothing more."""
        self.gone = True

    def numbered(self, first: int, messages: Sequence[bytes]) -> None:
        """Tell it of messages that a shard has numbered."""
        if first > self._last:
            self._last = first + len(messages) - 1
            self._tell(self.follower.received, first, list(messages))
        else:
            self._tell(self.follower.received, None, list(messages))

    def begin_again(self, last: int) -> None:
        """The shard has lost its numbers, and goes on after this one."""
        self._last = last

    def unnumbered(self, messages: Sequence[bytes]) -> None:
        """Tell it of this node's own messages, which it will not hear of again."""
        self._tell(self.follower.received, None, list(messages))

    def interrupted(self) -> None:
        """A shard of the channel is away."""
        self._away += 1
        self.turns += 1
        if self._away == 1:
            self._complete = True
            self._tell(self.follower.interrupted)

    def resumed(self, complete: bool) -> None:
        """It is back."""
        self._away -= 1
        self.turns += 1
        self._complete = self._complete and complete
        if self._away == 0:
            self._tell(self.follower.resumed)
            if not self._complete:
                self.missed()

    def missed(self) -> None:
        """What comes next does not follow on what came before."""
        self._tell(self.follower.missed)

    def _tell(self, what: Callable[..., None], *about: object) -> None:
        if self.gone:
            return
        try:
            what(*about)
        except Exception:
            _log.failure("bug: {follower} failed", follower=self.follower)


@define(eq=False, repr=False)
class Progress:
    """
    How far one listener has come on one shard.

    :ivar position: the channel's newest number, as it was read or heard last: everything up to it
        is known, or need not be; ``None`` before the first reading.
    :ivar seen: the last batch of every origin that it knows.
    :ivar told: batches of this node, from and up to, whose messages it was told without numbers;
        the end is ``None`` while the shard is away.
    :ivar held: publications that wait for the reading; ``None`` where none is awaited.
    :ivar held_bytes: of their messages.
    :ivar overflowed: the last number of those that found no room to wait.
    :ivar away: whether it was told of an interruption that is not over.
    """

    listener: Listener
    own: Origin
    position: int | None = None
    seen: dict[Origin, int] = field(factory=dict)
    told: list[tuple[int, int | None]] = field(factory=list)
    held: list[Published] | None = field(factory=list)
    held_bytes: int = 0
    overflowed: int = 0
    away: bool = False

    def hear(self, published: Published) -> None:
        """Pass on what is new to this listener, or hold it."""
        if self.held is None:
            self._pass_on(published)
        elif len(self.held) < _HELD_PUBLICATIONS and self.held_bytes < _HELD_BYTES:
            self.held.append(published)
            self.held_bytes += sum(map(len, published.messages))
        else:
            self.overflowed = published.last

    def await_reading(self) -> None:
        """The history will be read: what is published from now on waits for it."""
        self.held, self.held_bytes, self.overflowed = [], 0, 0

    def read_to(self, last: int) -> None:
        """The history was read, up to this number: pass on what was held."""
        if last < (self.position or 0):
            self.listener.begin_again(last)
        self.position = last
        held, self.held = self.held or [], None
        for published in held:
            self._pass_on(published)
        if self.overflowed > self.position:
            self.position = self.overflowed
            self.listener.missed()

    def mark(self, origin: Origin, batch: int) -> None:
        """Everything of this origin up to this batch is known."""
        if batch > self.seen.get(origin, 0):
            if len(self.seen) >= _ORIGINS and origin not in self.seen:
                del self.seen[next(iter(self.seen))]
            self.seen[origin] = batch
            if origin == self.own:
                self.told = [each for each in self.told if each[1] is None or each[1] > batch]

    def take(self, first: int, messages: list[bytes], batch: int, origin: Origin) -> None:
        """Pass on one batch's messages, unless they are known already."""
        if batch > self.seen.get(origin, 0):
            known = origin == self.own and self.was_told(batch)
            self.mark(origin, batch)
            if not known:
                self.listener.numbered(first, messages)

    def tell_from(self, batch: int) -> None:
        """From this batch of its own node on it is told without numbers."""
        if self.told and (self.told[-1][1] or 0) >= batch:
            batch, _ = self.told.pop()
        self.told.append((batch, None))

    def tell_until(self, batch: int) -> None:
        """Up to this batch it was."""
        begin, _ = self.told.pop()
        if begin <= batch:
            self.told.append((begin, batch))

    def was_told(self, batch: int) -> bool:
        return any(begin <= batch and (end is None or batch <= end) for begin, end in self.told)

    def _pass_on(self, published: Published) -> None:
        if self.position is not None:
            behind = self.position - published.last
            if behind >= 0 and (published.before or behind < _OVERTAKEN_MESSAGES):
                # A reading was faster, and has shown it.
                return
            if behind >= 0:
                self.listener.begin_again(published.first - 1)
            if published.before != self.position:
                self.listener.missed()
        self.position = published.last
        self.take(published.first, published.messages, published.batch, published.origin)
