# SPDX-License-Identifier: Apache-2.0

"""
The journal: messages on this node's disk, in one SQLite file, until every durable drain has them.

What the room promises (PROTOCOL §12): a message stands in the journal once, however many drains
its channel has, and stays until all of them are done with it. A restart, a ``kill -9`` or a full
disk loses nothing that was synced. No number is ever given twice.

* A *row* is a part of what one channel received in one tick: at most one batch of a drain. Rows
  have numbers that grow from row to row, over all channels and all starts of the node.
* A *position* is a reader's place in its channel's rows: all messages before it are done. A
  durable drain has one; its name is the drain's id.
* A *claim* is the row, or the rows, that a position has under way. It is on the disk before it is
  sent if it is more than one row, so that the same request is made again after a crash.
* The *backlog* of a position is everything from the position to the end of its channel's rows.

:mod:`logplex.journal.file` is the file, used in a thread of its own; :mod:`logplex.journal.journal`
collects what comes in a tick and writes it as one transaction.
"""

from __future__ import annotations

import os
from pathlib import Path

from logplex.interfaces import IReactor
from logplex.journal.journal import Journal
from logplex.journal.thread import OneThread
from logplex.journal.values import JournalBounds
from logplex.settings import JournalSettings

__all__ = ["make_journal"]


def make_journal(
    settings: JournalSettings, directory: Path | None, reactor: IReactor, is_kept: bool = True
) -> Journal | None:
    """
    Return the journal of a node, which is not opened yet; ``None`` if the node has no journal.

    :param directory: the directory of the configuration's file. ``None`` means that the
        configuration is shared with other nodes; then the journal belongs into the state directory.
    :param is_kept: false if the configuration ends with the process. Then the node has a journal
        only if the settings give an absolute path.
    """
    if not settings.file or not (is_kept or Path(settings.file).is_absolute()):
        return None
    directory = directory or Path(os.environ.get("STATE_DIRECTORY", "var"))
    thread = OneThread(reactor)
    bounds = JournalBounds(
        tick_s=settings.tick_s,
        max_bytes=settings.max_bytes,
        keep_free_bytes=settings.keep_free_bytes,
        max_age_s=settings.max_age_s,
    )
    path = directory / settings.file
    return Journal(str(path), thread.run, reactor, bounds, released=thread.stop)
