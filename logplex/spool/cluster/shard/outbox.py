# SPDX-License-Identifier: Apache-2.0

"""
The outbox of a shard: waiting messages, collected by channel, and sealed into numbered batches.

There is no I/O and no clock here: the owner of an outbox says when to seal, and which batch the
shard has taken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable, Iterator, KeysView
from functools import partial
from itertools import accumulate, chain, count

from attrs import define, field, frozen

from logplex.metrics import Counters
from logplex.spool.cluster.wire.scripts import FORGET, KEEP, RAISE, Batch, Piece

#: What a message that waits costs besides its bytes: the header of a ``bytes``, a place in a list.
_MESSAGE_OVERHEAD_BYTES = 41
#: The size of a piece, which becomes an entry of a stream. What is longer or heavier is cut; one
#: larger message is a piece alone.
_PIECE_MESSAGES = 400
_PIECE_BYTES = 102_400
#: Of pieces that a shard has taken and not published yet; above this the oldest are forgotten.
_UNHEARD_BYTES = 4_194_304
#: Channels of which is remembered that messages were dropped.
_MOST_LOSERS = 100_000


@frozen
class OutboxBounds:
    """
    The limits of an outbox and of the batches in it.

    :ivar waiting_batches: the maximum number of sealed batches, including the batch that is being
        written. Further messages are dropped.
    :ivar waiting_bytes: the maximum number of bytes of waiting messages. Further messages are
        dropped.
    :ivar batch_channels: the maximum number of channels in a batch. Redis needs 6 to 12 µs for each
        channel of a call, and does nothing else in that time.
    :ivar batch_bytes: a batch of this size takes no further channel. While other batches wait, a
        batch is sealed only at this size.
    :ivar kept: the number of messages of a channel that the shard keeps.
    """

    waiting_batches: int = 2_000
    waiting_bytes: int = 67_108_864
    batch_channels: int = 100
    batch_bytes: int = 1_048_576
    kept: int = 1_500


@define(eq=False, repr=False)
class _Collected:
    """The messages of one channel that are not in a sealed batch yet."""

    keep: bool
    forget: bool = False
    messages: list[bytes] = field(factory=list)
    size_bytes: int = 0


@define(eq=False, repr=False)
class Outbox:
    """
    The messages that wait to be written to one shard, in order of arrival for each channel.

    Every message that is appended is counted once: as written, as dropped, or as waiting.

    :param numbers: the numbers of batches. All outboxes of a node share them, because a shard that
        is given up and used again remembers earlier numbers.
    :ivar number: the number of the last sealed batch.
    :ivar raised_above: channels named by :meth:`raise_sequence` get message numbers above this.
    :ivar waiting_messages: the number of messages, collected or sealed, that are not written yet.
    """

    bounds: OutboxBounds
    counters: Counters
    numbers: Iterator[int] = field(factory=partial(count, 1))
    number: int = 0
    raised_above: int = 0
    waiting_messages: int = 0
    waiting_bytes: int = 0
    _collected: dict[str, _Collected] = field(factory=dict)
    _collected_bytes: int = 0
    _sealed: deque[Batch] = field(factory=deque)
    _to_raise: set[str] = field(factory=set)
    #: Pieces that the shard has taken and this node has not heard, with the numbers of the batches.
    _unheard: deque[tuple[int, Piece]] = field(factory=deque)
    _unheard_bytes: int = 0
    #: Messages that were dropped since the channel's last piece; the next one tells of them.
    _lost: dict[str, int] = field(factory=dict)

    @property
    def head(self) -> Batch | None:
        """The first waiting batch, which is written next or is being written."""
        return self._sealed[0] if self._sealed else None

    @property
    def waiting_batches(self) -> int:
        return len(self._sealed)

    @property
    def collected(self) -> KeysView[str]:
        """The channels with messages that are not sealed yet."""
        return self._collected.keys()

    def append(self, channel_id: str, messages: list[bytes], keep: bool) -> None:
        """
        Add messages of a channel to the outbox. If there is no room, drop the messages and count
        them.
        """
        bounds = self.bounds
        count = len(messages)
        # A chunk that touches hundreds of channels has one message for each: ask no iterator then.
        size_bytes = len(messages[0]) if count == 1 else sum(map(len, messages))
        waiting_bytes = self.waiting_bytes + size_bytes + _MESSAGE_OVERHEAD_BYTES * count
        if waiting_bytes > bounds.waiting_bytes or (
            self._collected_bytes >= bounds.batch_bytes and not self.seal()
        ):
            self.counters.spool_dropped += count
            self._lose(channel_id, count)
            return
        collected = self._collected.get(channel_id)
        if collected is None:
            collected = self._collected[channel_id] = _Collected(keep)
        elif collected.keep is not keep:
            if collected.messages:
                self.seal(force=True)
                collected = self._collected[channel_id] = _Collected(keep)
            collected.keep = keep
        collected.messages += messages
        collected.size_bytes += size_bytes
        self._collected_bytes += size_bytes
        self.waiting_bytes = waiting_bytes
        self.waiting_messages += count

    def forget(self, channel_id: str) -> None:
        """
        Let the shard delete a channel after the sealed batches are written. Messages that are not
        sealed are dropped.
        """
        collected = self._collected.pop(channel_id, None)
        if collected is not None:
            self._let_go(len(collected.messages), collected.size_bytes)
            self._collected_bytes -= collected.size_bytes
            self.counters.spool_dropped += len(collected.messages)
        self._collected[channel_id] = _Collected(keep=False, forget=True)
        self._lost.pop(channel_id, None)

    def raise_sequence(self, channel_id: str) -> None:
        """Give the next messages of a channel numbers above :attr:`raised_above`."""
        self._to_raise.add(channel_id)

    def seal(self, channel_ids: Iterable[str] | None = None, force: bool = False) -> bool:
        """
        Seal the collected messages into batches.

        :param channel_ids: seal only these channels; ``None`` means all.
        :param force: ignore the bound on batches.
        :return: true if all messages found room.
        """
        names = list(self._collected if channel_ids is None else channel_ids)
        most = self.bounds.waiting_batches
        at = 0
        while at < len(names):
            if len(self._sealed) >= most and not force:
                return False
            at = self._seal_some(names, at)
        return True

    def done(self, followed: Container[str] = ()) -> None:
        """
        Remove the first batch, because the shard has taken it.

        :param followed: the ids of the channels with followers. Their messages are held until the
            shard has published them, because a shard that is killed may have taken a batch without
            publishing the batch.
        """
        batch = self._sealed.popleft()
        for piece in batch.pieces:
            if piece.count and piece.channel_id in followed:
                self._unheard.append((batch.number, piece))
                self._unheard_bytes += len(piece.payload)
        while self._unheard_bytes > _UNHEARD_BYTES:
            self._forget_unheard()
        self._let_go(batch.messages, batch.size_bytes)
        self.counters.spool_written += batch.messages

    def drop(self) -> None:
        """Drop the first batch, because the shard will never take this batch."""
        batch = self._sealed.popleft()
        self._let_go(batch.messages, batch.size_bytes)
        self.counters.spool_dropped += batch.messages
        for piece in batch.pieces:
            self._lose(piece.channel_id, piece.count)

    def drop_all(self) -> None:
        """Drop all waiting messages, because nothing will be written any more."""
        self.seal(force=True)
        while self._sealed:
            self.drop()

    def last_batch_of(self, channel_id: str) -> int:
        """
        Return the number of the last sealed batch that has messages of a channel; 0 if there is
        none.
        """
        for batch in reversed(self._sealed):
            if any(piece.channel_id == channel_id for piece in batch.pieces):
                return batch.number
        return 0

    def heard(self, batch: int, channel_id: str) -> None:
        """
        Record that the shard has published the messages of one channel in a batch, and all messages
        before them.
        """
        unheard = self._unheard
        while unheard and unheard[0][0] < batch:
            self._forget_unheard()
        if any(piece.channel_id == channel_id for number, piece in unheard if number == batch):
            while self._forget_unheard().channel_id != channel_id:
                pass

    def unheard(self, channel_ids: Container[str]) -> dict[str, list[tuple[int, list[bytes]]]]:
        """
        Return the sealed messages of some channels that followers may not have heard yet.

        The messages are in order, with the numbers of their batches.
        """
        found: dict[str, list[tuple[int, list[bytes]]]] = {}
        sealed = ((batch.number, piece) for batch in self._sealed for piece in batch.pieces)
        for number, piece in chain(self._unheard, sealed):
            if piece.count and piece.channel_id in channel_ids:
                found.setdefault(piece.channel_id, []).append((number, piece.messages()))
        return found

    def to_be_kept(self, channel_id: str) -> list[bytes]:
        """
        Return the waiting messages of a channel that the shard will keep, oldest first. The shard
        may already have taken some of these messages.
        """
        found: list[bytes] = []
        for batch in self._sealed:
            for piece in batch.pieces:
                if piece.channel_id == channel_id:
                    if piece.flags & FORGET:
                        found.clear()
                    if piece.flags & KEEP:
                        found += piece.messages()
        collected = self._collected.get(channel_id)
        if collected is not None:
            if collected.forget:
                found.clear()
            if collected.keep:
                found += collected.messages
        return found

    def _forget_unheard(self) -> Piece:
        _, piece = self._unheard.popleft()
        self._unheard_bytes -= len(piece.payload)
        return piece

    def _seal_some(self, names: list[str], at: int) -> int:
        """
        Seal one batch with messages of some channels, beginning with the channel at an index.
        Return the index after the last channel of the batch.
        """
        bounds = self.bounds
        pieces: list[Piece] = []
        messages = size_bytes = 0
        for channel_id in names[at : at + bounds.batch_channels]:
            collected = self._collected.pop(channel_id)
            count = len(collected.messages)
            is_too_long = count > _PIECE_MESSAGES or collected.size_bytes > _PIECE_BYTES
            if is_too_long and count > 1:
                collected = self._cut(channel_id, collected)
            else:
                is_too_long = False
            pieces.append(self._piece(channel_id, collected))
            messages += len(collected.messages)
            size_bytes += collected.size_bytes
            if is_too_long:
                break
            at += 1
            if size_bytes >= bounds.batch_bytes:
                break
        self._collected_bytes -= size_bytes
        self.number = next(self.numbers)
        self._sealed.append(Batch(self.number, pieces, messages, size_bytes, self.raised_above))
        return at

    def _cut(self, channel_id: str, whole: _Collected) -> _Collected:
        """
        Remove the first part of a channel's collected messages, and return this part; the rest
        stays.

        A batch has at most one part of a channel, because followers recognise a part by the number
        of its batch.
        """
        sizes = accumulate(map(len, whole.messages[:_PIECE_MESSAGES]))
        count = max(1, sum(size <= _PIECE_BYTES for size in sizes))
        first = whole.messages[:count]
        size_bytes = sum(map(len, first))
        self._collected[channel_id] = _Collected(
            whole.keep,
            messages=whole.messages[count:],
            size_bytes=whole.size_bytes - size_bytes,
        )
        return _Collected(whole.keep, whole.forget, first, size_bytes)

    def _piece(self, channel_id: str, collected: _Collected) -> Piece:
        flags = (KEEP if collected.keep else 0) | (FORGET if collected.forget else 0)
        if channel_id in self._to_raise:
            self._to_raise.discard(channel_id)
            flags |= RAISE
        lost = self._lost.pop(channel_id, 0) if self._lost else 0
        return Piece.pack(channel_id, flags, collected.messages, lost)

    def _lose(self, channel_id: str, count: int) -> None:
        if len(self._lost) < _MOST_LOSERS or channel_id in self._lost:
            self._lost[channel_id] = self._lost.get(channel_id, 0) + count

    def _let_go(self, messages: int, size_bytes: int) -> None:
        self.waiting_messages -= messages
        self.waiting_bytes -= size_bytes + _MESSAGE_OVERHEAD_BYTES * messages
