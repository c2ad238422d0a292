# SPDX-License-Identifier: Apache-2.0

"""
Check names that clients choose, and show tokens and URLs in the form that both APIs use.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from logplex.api.refusals import BadChannelId, BadName
from logplex.model.destination import BadDestination, Receiver, parse_destination
from logplex.model.values import Token, is_id

MAX_CREDENTIAL_NAME_CHARACTERS = 128
MAX_TOKEN_NAME_CHARACTERS = 48
TOKEN_NAME_RULE = "a token's name has 1 to 48 printable ASCII characters, and no space"
# Printable ASCII without space.
_TOKEN_NAME = re.compile(rf"[!-~]{{1,{MAX_TOKEN_NAME_CHARACTERS}}}")


def check_channel_id(channel_id: str) -> str:
    """
    Return the id if it is a valid channel id (PROTOCOL §1).

    :raise BadChannelId: the id is not valid.
    """
    if not is_id(channel_id):
        raise BadChannelId
    return channel_id


def check_token_name(name: str) -> str:
    """
    Return the name if it is a valid token name (PROTOCOL §1).

    :raise BadName: the name is not valid.
    """
    if not is_token_name(name):
        raise BadName
    return name


def is_token_name(name: str) -> bool:
    """Return true if the text is a valid token name."""
    return _TOKEN_NAME.fullmatch(name) is not None


def is_credential_name(name: str) -> bool:
    """
    Return true if the text is a valid credential name. Credential names are descriptions for
    people.
    """
    return len(name) <= MAX_CREDENTIAL_NAME_CHARACTERS and name.isprintable()


def shown_tokens(tokens: Iterable[Token]) -> dict[str, str]:
    """
    Return the token id for each token name. If several tokens have the same name, return the id of
    the newest token.
    """
    return {token.name: token.id for token in tokens}


def url_with_port(url: str) -> str:
    """Return a drain's URL with its port. Return the URL unchanged if it is not valid."""
    try:
        return parse_destination(url).with_port
    except BadDestination:
        return url


def receiver_of(url: str) -> Receiver | None:
    """Return the receiver of a drain's URL; ``None`` if the URL is not valid."""
    try:
        return parse_destination(url).receiver
    except BadDestination:
        return None
