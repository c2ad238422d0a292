# SPDX-License-Identifier: Apache-2.0

"""
The values of the configuration, and the permissions of credentials.

The values are immutable and do not use Twisted. Ids of channels, tokens and sessions are ``str``,
ids of drains are ``int``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from attrs import field, frozen

#: Channel flag: this channel may not be tailed live.
NO_TAIL = "no_tail"
#: Channel flag: this channel's messages are numbered and published, but not kept.
NO_REDIS = "no_redis"
CHANNEL_FLAGS = frozenset({NO_TAIL, NO_REDIS})
#: Most channels have none; sharing it saves 200 bytes for each of them.
NO_FLAGS: frozenset[str] = frozenset()

#: The value of :attr:`Credential.channel` that means: may write into any channel.
ANY_CHANNEL = "any"

#: Permission: every route of the APIs.
FULL_API = "full_api"
#: Permission: write into every channel.
ANY_CHANNEL_PERMISSION = "any_channel"
#: The beginning of a permission for one channel; the channel's id follows.
ONE_CHANNEL_PREFIX = "channel:"

MAX_ID_CHARACTERS = 128
# Printable ASCII without space, ":" and "/".
_ID = re.compile(rf"[!-.0-9;-~]{{1,{MAX_ID_CHARACTERS}}}")


@frozen
class Channel:
    """One log stream, usually one application."""

    id: str
    name: str = ""
    flags: frozenset[str] = NO_FLAGS


@frozen
class Token:
    """
    The right to write messages into one channel. Readers see the token's name as the source of the
    messages.
    """

    id: str
    channel_id: str
    name: str
    #: Microseconds since the epoch; of two tokens with one name the newest is shown.
    created_us: int = 0


@frozen
class Drain:
    """
    A destination that gets a copy of every message of a channel. A drain without a URL is reserved.

    :ivar durable: true if messages wait on the nodes' disks until the receiver has accepted them
        (PROTOCOL §12).
    """

    id: int
    channel_id: str
    token: str
    url: str | None = field(default=None, repr=False)
    durable: bool = False


@frozen
class Credential:
    """
    The id and the secret of a client of HTTP basic authentication, and the client's permissions.

    :ivar secret: the password, or its hash with the name of the hash function.
    :ivar full_api: true if the client may use every route of the APIs.
    :ivar channel: the channel for which the credential is valid: an id, :data:`ANY_CHANNEL`, or
        ``None`` for no channel.
    """

    id: str
    secret: str = field(repr=False)
    name: str = ""
    full_api: bool = False
    channel: str | None = None


Value = Channel | Token | Drain | Credential
Kind = type[Channel] | type[Token] | type[Drain] | type[Credential]

#: Every kind of value by its name, in the order in which values are restored: channels first.
KINDS: dict[str, Kind] = {
    "channel": Channel,
    "token": Token,
    "drain": Drain,
    "credential": Credential,
}


@frozen
class Put:
    """
    A change of the configuration: a value is added, or replaces the value of the same kind and id.
    """

    value: Value


@frozen
class Delete:
    """A change of the configuration: the value with this kind and id is deleted."""

    kind: Kind
    id: str | int


Change = Put | Delete


#: The user id of a sender that presents a channel's token instead of a credential (PROTOCOL §4).
TOKEN_USER = "token"

#: The credential of a caller who presents the node's ``auth_key``. It is for the APIs only: it
#: may not write messages.
AUTH_KEY_HOLDER = Credential(id="auth_key", secret="", full_api=True)

#: The credential of every caller on routes that are open to all.
NOBODY = Credential(id="", secret="")

#: Ids that no credential may have, because basic auth gives them another meaning.
RESERVED_IDS = frozenset({TOKEN_USER, AUTH_KEY_HOLDER.id})


def join_flags(flags: Iterable[str]) -> str:
    """Return the flags of a channel as one text, separated by ``:``. The stores keep this text."""
    return ":".join(sorted(flags))


def split_flags(text: str) -> frozenset[str]:
    """Return the flags of a channel, given the text that :func:`join_flags` made."""
    return frozenset(filter(None, text.split(":"))) or NO_FLAGS


def is_id(text: str) -> bool:
    """Return true if a channel, a token or a credential can have this id (PROTOCOL §1)."""
    return _ID.fullmatch(text) is not None


def is_new_credential_id(text: str) -> bool:
    """Return true if a new credential may have this id."""
    return is_id(text) and text not in RESERVED_IDS


def parse_permissions(permissions: Iterable[str]) -> tuple[bool, str | None]:
    """
    Return :attr:`Credential.full_api` and :attr:`Credential.channel` of a credential with these
    permissions.

    :param permissions: ``full_api``, ``any_channel``, ``channel:<id>``.
    :raise ValueError: a permission does not exist, or two of them exclude each other.
    """
    full_api, channels = False, set()
    for permission in permissions:
        if permission == FULL_API:
            full_api = True
        elif permission == ANY_CHANNEL_PERMISSION:
            channels.add(ANY_CHANNEL)
        elif permission.startswith(ONE_CHANNEL_PREFIX):
            channels.add(one_channel(permission.removeprefix(ONE_CHANNEL_PREFIX)))
        else:
            raise ValueError(f"unknown permission {permission!r}")
    if len(channels) > 1:
        raise ValueError("a credential is for one channel or for any channel")
    return full_api, channels.pop() if channels else None


def permissions_of(credential: Credential) -> list[str]:
    """
    Return the permissions of a credential as texts, which :func:`parse_permissions` can parse.
    """
    permissions = [FULL_API] if credential.full_api else []
    if credential.channel == ANY_CHANNEL:
        permissions.append(ANY_CHANNEL_PERMISSION)
    elif credential.channel is not None:
        permissions.append(ONE_CHANNEL_PREFIX + credential.channel)
    return permissions


def one_channel(channel_id: str) -> str:
    """
    Check the channel id in a permission for one channel, and return the id.

    :raise ValueError: the id is empty, or means "any channel".
    """
    if not channel_id or channel_id == ANY_CHANNEL:
        raise ValueError(f"there is no permission for a channel {channel_id!r}")
    return channel_id


def is_for_one_channel(credential: Credential) -> bool:
    """Return true if the credential gives access to only one channel."""
    return credential.channel not in (None, ANY_CHANNEL)


def may_read(credential: Credential, channel_id: str) -> bool:
    """Return true if the credential may read this channel's logs and open sessions on it."""
    return credential.full_api or (
        is_for_one_channel(credential) and credential.channel == channel_id
    )
