# SPDX-License-Identifier: Apache-2.0

"""
``logplex journal``: look into the file of the messages that durable drains still have to deliver.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click
from attrs import asdict

from logplex.cli.command import Remote, examples, table, talks
from logplex.cli.failures import NotFound, Rejected
from logplex.journal.survey import Survey, survey
from logplex.journal.values import JournalUnusable


@click.group(epilog=examples("logplex journal show /var/lib/logplex/journal.db"))
def journal() -> None:
    """The journal: the file of the messages that durable drains still have to deliver."""


@journal.command(epilog=examples("logplex journal show /var/lib/logplex/journal.db"))
@click.argument("file", type=click.Path(dir_okay=False))
@talks
async def show(remote: Remote, file: str) -> None:
    """
    Show the size of FILE, and how far each durable drain is behind.

    A node may use FILE meanwhile. Nothing is changed.
    """
    if not Path(file).exists():
        raise NotFound(f"{file}: no such file")
    try:
        found = survey(file)
    except JournalUnusable as error:
        raise Rejected(str(error)) from None
    remote.show(asdict(found), [*table(_facts(found)), *table(_drains(found))])


def _facts(found: Survey) -> Iterator[tuple[str, object]]:
    yield "journal", found.id
    yield "bytes", found.bytes
    yield "used_bytes", found.used_bytes
    yield "rows", found.rows


def _drains(found: Survey) -> Iterator[tuple[object, ...]]:
    for each in found.drains:
        oldest = "-"
        if each.oldest_at is not None:
            oldest = datetime.fromtimestamp(each.oldest_at, UTC).isoformat(timespec="seconds")
        yield (
            f"drain {each.drain}",
            each.channel,
            f"at {each.row}.{each.place}",
            f"{each.lag_messages} messages",
            f"{each.lag_bytes} bytes",
            f"since {oldest}",
            f"{each.set_aside} set aside",
            f"{each.lost} lost",
        )
