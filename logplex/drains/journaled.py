# SPDX-License-Identifier: Apache-2.0

"""
The channels whose messages go into the journal: those that have a durable drain.
"""

from __future__ import annotations

from attrs import define, field
from zope.interface import implementer

from logplex.interfaces import IOutlet
from logplex.journal.journal import Journal
from logplex.model.destination import BadDestination
from logplex.model.values import Drain
from logplex.routing.registry import Registry


@implementer(IOutlet)
@define(eq=False, repr=False)
class JournalOutlet:
    """Write a channel's messages to the journal."""

    journal: Journal
    channel_id: str

    def push(self, messages: list[bytes]) -> None:
        """See :class:`IOutlet`."""
        self.journal.append(self.channel_id, messages)


@define(eq=False, repr=False)
class JournaledChannels:
    """
    The channels whose messages are written to the journal, once for all durable drains of a
    channel.
    """

    registry: Registry
    journal: Journal
    _drains: dict[str, set[int]] = field(factory=dict, init=False)

    def add(self, drain: Drain) -> None:
        """Write the messages of a durable drain's channel to the journal from now on."""
        drains = self._drains.setdefault(drain.channel_id, set())
        if not drains:
            outlet = JournalOutlet(self.journal, drain.channel_id)
            self.registry.keep_in(drain.channel_id, outlet)
        drains.add(drain.id)

    def remove(self, drain: Drain) -> None:
        """
        Stop writing the messages of a drain's channel to the journal, if the drain was the
        channel's last durable drain.
        """
        drains = self._drains.get(drain.channel_id, set())
        drains.discard(drain.id)
        if not drains and self._drains.pop(drain.channel_id, None) is not None:
            self.registry.keep_in(drain.channel_id, None)

    def has_earlier(self, name: str, channel_id: str) -> bool:
        """Return true if the journal holds messages of a drain from before this start."""
        return self.journal.not_opened is None and self.journal.has_earlier(name, channel_id)


def check_journal(journaled: JournaledChannels | None) -> None:
    """
    Check that a durable drain can run on this node now.

    :raise BadDestination: the node has no journal, or the journal's disk is full.
    """
    if journaled is None:
        raise BadDestination("this node has no journal, so a drain cannot be durable")
    if journaled.journal.not_opened is not None:
        raise BadDestination("the disk of this node's journal is full")
