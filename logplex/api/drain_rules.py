# SPDX-License-Identifier: Apache-2.0

"""
Rules for the drains of a channel. Both APIs obey the rules.
"""

from __future__ import annotations

from collections.abc import Iterable

from logplex.api.names import receiver_of
from logplex.api.refusals import DrainExists, NoJournal, TooManyDrains
from logplex.model.destination import Destination, check_durable
from logplex.model.values import Drain


def refuse_durable(destination: Destination | None, has_journal: bool) -> None:
    """
    Check that a drain can be durable.

    :param destination: the destination of the drain; ``None`` for a reserved drain.
    :raise NoJournal: the node has no journal.
    :raise BadDestination: no drain to this destination can be durable.
    """
    if not has_journal:
        raise NoJournal
    if destination is not None:
        check_durable(destination)


def refuse_more(drains: Iterable[Drain], bound: int) -> None:
    """Raise :class:`TooManyDrains` if a channel has as many drains as it may have."""
    if sum(each.url is not None for each in drains) >= bound:
        raise TooManyDrains


def refuse_double(drains: Iterable[Drain], destination: Destination) -> None:
    """Raise :class:`DrainExists` if one of the drains already sends to this receiver."""
    receivers = (receiver_of(each.url) for each in drains if each.url is not None)
    if destination.receiver in receivers:
        raise DrainExists
