# SPDX-License-Identifier: Apache-2.0

"""
Check the values of an import by the same rules that the other routes of the API apply.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from logplex.api.names import TOKEN_NAME_RULE, is_credential_name, is_token_name, receiver_of
from logplex.api.refusals import BadBody
from logplex.model.destination import BadDestination, check_durable, parse_destination
from logplex.model.export import member_of
from logplex.model.values import (
    Channel,
    Credential,
    Drain,
    Kind,
    Token,
    Value,
    is_for_one_channel,
    is_new_credential_id,
)
from logplex.routing.registry import Registry
from logplex.settings import Limits

#: Returns true if there is a channel of this id, or the import brings it.
_Knows = Callable[[str], bool]

_NO_CHANNEL = "there is no such channel"


def check_import(
    values: Sequence[Value], registry: Registry, limits: Limits, has_journal: bool
) -> None:
    """
    Check the values of an import before they are stored.

    :param has_journal: true if the node has a journal, so that drains can be durable.
    :raise BadBody: a value is refused. The text of the error names the value's place in the
        document.
    """
    brought = {value.id for value in values if isinstance(value, Channel)}

    def knows(channel_id: str) -> bool:
        return channel_id in brought or registry.channel(channel_id) is not None

    def fault_of(value: Value) -> str | None:
        if isinstance(value, Drain) and value.durable and not has_journal:
            return "this node has no journal, so that no drain can be durable"
        return _FAULTS[type(value)](value, knows)

    places: Counter[str] = Counter()
    for value in values:
        member = member_of(value)
        fault = fault_of(value)
        if fault is not None:
            raise BadBody(f"{member}[{places[member]}]: {fault}")
        places[member] += 1
    _check_tokens(values, registry, limits)
    _check_drains(values, registry, limits)


def _check_tokens(values: Iterable[Value], registry: Registry, limits: Limits) -> None:
    brought: dict[str, set[str]] = defaultdict(set)
    for value in values:
        if isinstance(value, Token):
            brought[value.channel_id].add(value.id)
    for channel_id, ids in brought.items():
        if len(ids.union(each.id for each in registry.tokens_of(channel_id))) > (
            limits.tokens_per_channel
        ):
            raise BadBody(
                f"channel {channel_id}: a channel has at most {limits.tokens_per_channel} tokens"
            )


def _check_drains(values: Iterable[Value], registry: Registry, limits: Limits) -> None:
    brought: dict[str, dict[int, Drain]] = defaultdict(dict)
    for value in values:
        if isinstance(value, Drain):
            brought[value.channel_id][value.id] = value
    for channel_id, drains in brought.items():
        known = {each.id: each for each in registry.drains_of(channel_id)}
        together = {**known, **drains}.values()
        receivers = [receiver_of(each.url) for each in together if each.url is not None]
        if len(receivers) > limits.drains_per_channel:
            raise BadBody(
                f"channel {channel_id}: a channel has at most {limits.drains_per_channel} drains"
            )
        if len(set(receivers)) < len(receivers):
            raise BadBody(f"channel {channel_id}: two of its drains have one receiver")


def _no_fault(value: Channel, knows: _Knows) -> str | None:
    return None


def _fault_of_token(token: Token, knows: _Knows) -> str | None:
    if not knows(token.channel_id):
        return _NO_CHANNEL
    return None if is_token_name(token.name) else TOKEN_NAME_RULE


def _fault_of_drain(drain: Drain, knows: _Knows) -> str | None:
    if not knows(drain.channel_id):
        return _NO_CHANNEL
    if drain.id < 1:
        return "the id of a drain is at least 1"
    try:
        destination = parse_destination(drain.url or "http://reserved")
        if drain.durable:
            check_durable(destination)
    except BadDestination as bad:
        return bad.reason
    return None


def _fault_of_credential(credential: Credential, knows: _Knows) -> str | None:
    if not is_new_credential_id(credential.id):
        return "no credential can have this id"
    if not is_credential_name(credential.name):
        return "the name is too long, or cannot be printed"
    if is_for_one_channel(credential) and not knows(credential.channel or ""):
        return _NO_CHANNEL
    return None


_FAULTS: dict[Kind, Callable[[Any, _Knows], str | None]] = {
    Channel: _no_fault,
    Token: _fault_of_token,
    Drain: _fault_of_drain,
    Credential: _fault_of_credential,
}
