# SPDX-License-Identifier: Apache-2.0

"""
``logplex store``: export and import the whole configuration as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

import click

from logplex.access.credentials import write_private
from logplex.cli.command import Remote, examples, talks
from logplex.cli.failures import NotFound, Rejected
from logplex.cli.offline import opened
from logplex.model.export import (
    MEMBERS,
    BadExport,
    export_values,
    exported,
    import_values,
    member_of,
)
from logplex.model.values import Value

#: The size of one request, or of one change of a store; far below the bounds of a node.
PART_VALUES = 500
PART_BYTES = 400_000

_store_option = click.option(
    "--store",
    "store_location",
    envvar="LOGPLEX_STORE",
    show_envvar=True,
    metavar="FILE-OR-URL",
    help="Use this store instead of a running node.",
)


@click.group(
    epilog=examples(
        "logplex store export backup.json",
        "logplex store import backup.json --store redis://redis.example.com",
    )
)
def store() -> None:
    """
    Export and import the whole configuration: channels, tokens, drains, credentials.

    Use it for backups, to move from an embedded store to Redis, and to fill an emptied Redis again.
    Messages and sessions are not included.
    """


@store.command(
    "export",
    epilog=examples(
        "logplex store export backup.json",
        "logplex store export - --store var/logplex.db | gpg -c >backup.json.gpg",
    ),
)
@click.argument("file", type=click.Path(dir_okay=False))
@_store_option
@talks
async def export_store(remote: Remote, file: str, store_location: str | None) -> None:
    """
    Write the configuration to FILE ("-": standard output).

    FILE contains secrets. Only its owner can read it.
    """
    if store_location is None:
        document = await remote.api.get("configuration")
    else:
        async with opened(store_location, remote.runtime.reactor, must_exist=True) as source:
            document = export_values(source.registry.values())
    values = _understood(document)
    for entries in document.values():
        # Stores keep no order. A fixed one lets operators compare backups.
        entries.sort(key=itemgetter("id"))
    text = json.dumps(document, indent=1) + "\n"
    if file == "-":
        click.echo(text, nl=False)
        return
    try:
        _write(file, text)
    except OSError as error:
        raise Rejected(f"{file}: {error.strerror}") from None
    _tell(remote, values, "exported")


@store.command(
    "import",
    epilog=examples(
        "logplex store import backup.json",
        "logplex store import backup.json --store redis://redis.example.com",
    ),
)
@click.argument("file", type=click.Path(dir_okay=False))
@_store_option
@talks
async def import_store(remote: Remote, file: str, store_location: str | None) -> None:
    """
    Read a configuration from FILE ("-": standard input).

    Entries with the same id are replaced. Nothing is deleted, so you can repeat an import. The
    entries are written in parts; if a part fails, the parts before it stay.
    """
    values = _understood(_parsed(_read(file)))
    if store_location is None:
        for part in parts(values):
            await remote.api.post("configuration", **export_values(part))
    else:
        async with opened(store_location, remote.runtime.reactor) as target:
            for part in parts(values):
                await target.put(part)
    _tell(remote, values, "imported")


def parts(values: list[Value]) -> Iterator[list[Value]]:
    """Yield the values in order, in parts that are small enough for one request."""
    part: list[Value] = []
    size = 0
    for value in values:
        value_bytes = len(json.dumps(exported(value)))
        if part and (len(part) >= PART_VALUES or size + value_bytes > PART_BYTES):
            yield part
            part, size = [], 0
        part.append(value)
        size += value_bytes
    if part:
        yield part


def _write(file: str, text: str) -> None:
    """
    Write to a file that only its owner can read. A link is followed.

    A pipe or a device, such as ``/dev/stdout``, is written to; a regular file is replaced.
    """
    path = Path(file)
    if path.exists() and not path.is_file():
        path.write_text(text, "utf-8")
    else:
        write_private(path.resolve(), text)


def _read(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
    except FileNotFoundError:
        raise NotFound(f"{file}: there is no such file") from None
    except OSError as error:
        raise Rejected(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Rejected(f"{file}: is not UTF-8") from None


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Rejected("this is not JSON") from None


def _understood(document: object) -> list[Value]:
    """Check a document, and return its values. Nothing is written before the check."""
    try:
        return import_values(document)
    except BadExport as bad:
        raise Rejected(f"this is not a configuration: {bad}") from None


def _tell(remote: Remote, values: list[Value], done: str) -> None:
    counts = dict.fromkeys(MEMBERS, 0)
    for value in values:
        counts[member_of(value)] += 1
    text = ", ".join(f"{count} {member}" for member, count in counts.items())
    remote.show(counts, [f"{done} {text}"])
