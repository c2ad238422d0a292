# SPDX-License-Identifier: Apache-2.0

"""
``logplex credential``: the ids, passwords and permissions of clients.
"""

from __future__ import annotations

from secrets import token_hex
from typing import Any

import click

from logplex.access.credentials import Made, make_credential
from logplex.cli.command import Remote, checked, examples, table, talks
from logplex.cli.failures import Rejected
from logplex.cli.offline import opened
from logplex.model.values import (
    RESERVED_IDS,
    is_for_one_channel,
    is_id,
    parse_permissions,
    permissions_of,
)


def credential_id(value: str) -> str:
    """
    Return the text if it can be a credential's id, the user of HTTP basic authentication.

    :raise ValueError: the text is malformed, or reserved.
    """
    if not is_id(value):
        raise ValueError("must be 1 to 128 printable characters without ':', '/' or space")
    if value in RESERVED_IDS:
        raise ValueError(f'"{value}" is taken')
    return value


def permission(value: str) -> str:
    """
    Return the text if it is a permission: ``full_api``, ``any_channel`` or ``channel:ID``.

    :raise ValueError: the text is something else.
    """
    parse_permissions([value])
    return value


@click.group(
    epilog=examples(
        "logplex credential create alice --permission full_api",
        "logplex credential list",
    )
)
def credential() -> None:
    """Credentials: ids and passwords that may use the API, or write and read channels."""


@credential.command("list", epilog=examples("logplex credential list"))
@talks
async def list_credentials(remote: Remote) -> None:
    """List all credentials, without their passwords."""
    answer = await remote.api.get("credentials")
    remote.show(answer, table(map(_row, answer["credentials"])))


@credential.command(
    epilog=examples(
        "logplex credential create alice --permission full_api",
        "logplex credential create --name log-shuttle --permission channel:shop",
        "logplex credential create admin --permission full_api --store var/logplex.db",
    )
)
@click.argument("credential_id", metavar="[ID]", required=False, callback=checked(credential_id))
@click.option("--name", default="", help="A description for people.")
@click.option(
    "--permission",
    "permissions",
    multiple=True,
    callback=checked(permission),
    metavar="PERMISSION",
    help="full_api, any_channel (write into every channel), or channel:ID (write, read, tail).",
)
@click.option(
    "--store",
    "store_location",
    envvar="LOGPLEX_STORE",
    show_envvar=True,
    metavar="FILE-OR-URL",
    help="Write to this store, without a running node.",
)
@click.option(
    "--plain",
    is_flag=True,
    help="With --store: keep the password in a form that Erlang nodes can read too.",
)
@talks
async def create(
    remote: Remote,
    credential_id: str | None,
    name: str,
    permissions: tuple[str, ...],
    store_location: str | None,
    plain: bool,
) -> None:
    """
    Create a credential, and show it as ID:PASSWORD. The password is never shown again.

    With --store no node has to run: use it for the first credential of a cluster.
    """
    if store_location is None:
        if plain:
            raise click.UsageError(
                "--plain needs --store; a node has the option [auth] plain_passwords"
            )
        body: dict[str, Any] = {} if credential_id is None else {"id": credential_id}
        made = await remote.api.post(
            "credentials", name=name, permissions=list(permissions), **body
        )
    else:
        try:
            fresh = make_credential(credential_id or token_hex(8), name, permissions, plain)
        except ValueError as error:
            raise Rejected(str(error)) from None
        await _keep(remote, fresh, store_location)
        made = {
            "id": fresh.credential.id,
            "name": name,
            "permissions": permissions_of(fresh.credential),
            "kept_in": "store",
            "password": fresh.password,
        }
    _tell_password(remote, made)


async def _keep(remote: Remote, made: Made, store_location: str) -> None:
    """Write a new credential to a store, with the checks of API v3."""
    async with opened(store_location, remote.runtime.reactor) as store:
        new = made.credential
        if store.registry.credential(new.id) is not None:
            raise Rejected("already exists")
        if is_for_one_channel(new) and store.registry.channel(new.channel or "") is None:
            raise Rejected("channel not found")
        await store.put([new])


@credential.command(epilog=examples("logplex credential rotate alice"))
@click.argument("credential_id", metavar="ID")
@talks
async def rotate(remote: Remote, credential_id: str) -> None:
    """Give a credential a new password. The old one stops working at once."""
    _tell_password(remote, await remote.api.post("credentials", credential_id, "password"))


@credential.command(epilog=examples("logplex credential delete alice"))
@click.argument("credential_id", metavar="ID")
@talks
async def delete(remote: Remote, credential_id: str) -> None:
    """Delete a credential."""
    await remote.api.delete("credentials", credential_id)
    remote.show({"id": credential_id, "deleted": True}, [f"deleted {credential_id}"])


def _row(shown: dict[str, Any]) -> tuple[str, ...]:
    permissions = " ".join(shown["permissions"]) or "-"
    return shown["id"], permissions, shown["kept_in"], shown["name"]


def _tell_password(remote: Remote, made: dict[str, Any]) -> None:
    remote.show(made, [f"{made['id']}:{made['password']}"])
