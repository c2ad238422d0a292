# SPDX-License-Identifier: Apache-2.0

"""
The operations of both APIs on channels, tokens, drains and sessions. A refused operation raises an
exception.

Each API makes its own answers from the exceptions. Changes of one channel are made one after
another, so that two simultaneous requests cannot add too many drains. Every operation ends within a
time limit, even if the store does not answer.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import UUID, uuid4

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from logplex.access.owners import owner_key, owner_of
from logplex.api.drain_rules import refuse_double, refuse_durable, refuse_more
from logplex.api.locks import ChannelLocks
from logplex.api.names import check_channel_id, check_token_name
from logplex.api.refusals import (
    TooManyNames,
    TooManyTokens,
    UnknownChannel,
    UnknownDrain,
    UnknownSession,
    UnknownToken,
)
from logplex.api.session_bound import SessionBound
from logplex.clock import wall_s
from logplex.interfaces import IConfigStore, ISpool, StoreAway
from logplex.live import Live
from logplex.metrics import Counters
from logplex.model.destination import parse_destination
from logplex.model.session import BadSession, channel_of_session, is_session_id, parse_session
from logplex.model.values import (
    Change,
    Channel,
    Credential,
    Delete,
    Drain,
    Put,
    Token,
    may_read,
)
from logplex.routing.registry import Registry
from logplex.settings import Limits
from logplex.waiting import in_time, unbroken

#: The JSON of a session is kept as it came, up to this size.
MAX_SESSION_BYTES = 8_192
#: The owner of a session is kept longer, so that the session is never without it.
OWNER_OUTLIVES_S = 60.0

_Result = TypeVar("_Result")
_Arguments = ParamSpec("_Arguments")
_Coroutine = Coroutine[Deferred[Any], Any, _Result]


def _bounded(
    verb: Callable[Concatenate[Provisioning, _Arguments], _Coroutine[_Result]],
) -> Callable[Concatenate[Provisioning, _Arguments], Deferred[_Result]]:
    """Make an operation of a coroutine. The operation ends within the time limit of a request."""

    @wraps(verb)
    def begin(
        self: Provisioning, /, *args: _Arguments.args, **kwargs: _Arguments.kwargs
    ) -> Deferred[_Result]:
        return in_time(Deferred.fromCoroutine(verb(self, *args, **kwargs)), self._clock)

    return begin


@define(eq=False, repr=False)
class Provisioning:
    """
    Change the configuration: channels, tokens, drains and sessions.

    Every method raises :class:`StoreAway` if the store does not answer.

    :param limits: the bounds, for example the lifetime of sessions.
    :param has_journal: true if the node has a journal, so that drains can be durable.
    :param new_uuid: returns a random UUID, for a token or a session.
    """

    _store: IConfigStore
    _registry: Registry
    _spool: ISpool
    _clock: IReactorTime
    _limits: Live[Limits]
    _counters: Counters
    _new_uuid: Callable[[], UUID] = uuid4
    has_journal: bool = False
    _locks: ChannelLocks = field(factory=ChannelLocks, init=False)
    _sessions: SessionBound = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._sessions = SessionBound(self._clock, self._limits, self._counters)

    @_bounded
    async def ensure_channel(
        self,
        channel_id: str,
        token_names: Iterable[str] | None = None,
        flags: frozenset[str] | None = None,
    ) -> bool:
        """
        Create a channel if it does not exist. Give the channel one token for each name.

        :param token_names: a name without a token gets a new token; tokens with other names are
            deleted. ``None`` leaves the tokens unchanged.
        :param flags: the new flags; ``None`` leaves the flags unchanged.
        :return: true if the channel is new.
        :raise BadChannelId: no channel can have this id.
        :raise BadName: no token can have one of the names.
        :raise TooManyNames: there are more names than a channel may have tokens.
        """
        check_channel_id(channel_id)
        names = None if token_names is None else self._checked(token_names)
        async with self._locks.alone(channel_id):
            known = self._registry.channel(channel_id)
            channel = known or Channel(channel_id)
            if flags is not None:
                channel = evolve(channel, flags=flags)
            changes: list[Change] = [] if channel == known else [Put(channel)]
            if names is not None:
                tokens = self._registry.tokens_of(channel_id)
                wanted = set(names)
                changes += [Delete(Token, each.id) for each in tokens if each.name not in wanted]
                has = {token.name for token in tokens}
                missing = [name for name in names if name not in has]
                changes += map(Put, self._new_tokens(channel_id, missing))
            await self._commit(channel_id, changes)
            return known is None

    @_bounded
    async def create_channel(
        self, name: str, token_names: Iterable[str]
    ) -> tuple[Channel, list[Token]]:
        """
        Create a channel with a token for each name. The channel's id is the next free integer.

        :raise BadName: a name is not allowed.
        :raise TooManyNames: there are more names than a channel may have tokens.
        """
        names = self._checked(token_names)
        channel_id = str(await self._store.new_id("channel_index"))
        while self._registry.channel(channel_id):  # A client has chosen this id.
            channel_id = str(await self._store.new_id("channel_index"))
        channel = Channel(channel_id, name)
        tokens = self._new_tokens(channel_id, names)
        await self._commit(channel_id, [Put(channel), *map(Put, tokens)])
        return channel, tokens

    @_bounded
    async def delete_channel(self, channel_id: str) -> None:
        """
        Delete a channel with its tokens, drains, sessions and recent messages, and the credentials
        for this channel only. Nothing may give access to a later channel of the same id.

        :raise UnknownChannel: the channel does not exist.
        """
        async with self._locks.alone(channel_id):
            self._known(channel_id)
            tokens = self._registry.tokens_of(channel_id)
            drains = self._registry.drains_of(channel_id)
            useless = [
                each
                for each in self._registry.credentials()
                if each.channel == channel_id and not each.full_api
            ]
            changes: list[Change] = [
                *(Delete(Credential, each.id) for each in useless),
                *(Delete(Drain, each.id) for each in drains),
                *(Delete(Token, each.id) for each in tokens),
                Delete(Channel, channel_id),
            ]
            # Before: a failure refuses the deletion, which the client repeats. After: another node
            # may have opened one meanwhile.
            await self._store.end_sessions(channel_id)
            await self._commit(channel_id, changes)
            self._spool.forget(channel_id)
            with suppress(StoreAway):
                await self._store.end_sessions(channel_id)

    @_bounded
    async def add_token(self, channel_id: str, name: str) -> Token:
        """
        Create a token. Older tokens of the same name stay.

        :raise BadName: no token can have this name.
        :raise UnknownChannel: the channel does not exist.
        :raise TooManyTokens: the channel has as many tokens as it may have.
        """
        check_token_name(name)
        async with self._locks.alone(channel_id):
            self._known(channel_id)
            if len(self._registry.tokens_of(channel_id)) >= self._limits.now.tokens_per_channel:
                raise TooManyTokens
            [token] = self._new_tokens(channel_id, [name])
            await self._commit(channel_id, [Put(token)])
            return token

    @_bounded
    async def delete_token(self, channel_id: str, token_id: str) -> None:
        """
        Delete a token.

        :raise UnknownChannel: the channel does not exist.
        :raise UnknownToken: the token does not exist, or belongs to another channel.
        """
        async with self._locks.alone(channel_id):
            self._known(channel_id)
            token = self._registry.token(token_id)
            if token is None or token.channel_id != channel_id:
                raise UnknownToken
            await self._commit(channel_id, [Delete(Token, token_id)])

    @_bounded
    async def add_drain(
        self, channel_id: str, url: str | None = None, durable: bool = False
    ) -> Drain:
        """
        Create a drain.

        :param url: the drain's URL; ``None`` creates a drain without URL.
        :param durable: see :attr:`Drain.durable`.
        :raise BadDestination: no drain can have this URL, or no durable drain can have it.
        :raise NoJournal: the node has no journal for a durable drain.
        :raise UnknownChannel: the channel does not exist.
        :raise TooManyDrains: the channel has as many drains as it may have.
        :raise DrainExists: the channel has a drain with this URL.
        """
        destination = None if url is None else parse_destination(url)
        async with self._locks.alone(channel_id):
            self._known(channel_id)
            drains = self._registry.drains_of(channel_id)
            refuse_more(drains, self._limits.now.drains_per_channel)
            if destination is not None:
                refuse_double(drains, destination)
            if durable:
                refuse_durable(destination, self.has_journal)
            drain_id = await self._store.new_id("drain_index")
            drain = Drain(drain_id, channel_id, f"d.{self._new_uuid()}", url, durable)
            await self._commit(channel_id, [Put(drain)])
            return drain

    @_bounded
    async def move_drain(
        self,
        channel_id: str,
        drain_id: int,
        url: str | None,
        *,
        limited: bool = False,
        durable: bool | None = None,
    ) -> Drain:
        """
        Change a drain's URL, or make the drain durable or ordinary. Its token stays the same.

        :param url: the new URL; ``None`` leaves the URL unchanged.
        :param durable: see :attr:`Drain.durable`; ``None`` leaves it unchanged.
        :param limited: true to refuse a URL for a reserved drain if the channel has the maximum
            number of drains. Only the legacy API does so.
        :raise BadDestination: no drain can have this URL, or no durable drain can have it.
        :raise NoJournal: the node has no journal for a durable drain.
        :raise UnknownChannel: the channel does not exist.
        :raise UnknownDrain: the drain does not exist, or belongs to another channel.
        :raise TooManyDrains: ``limited`` is true, and the channel has the maximum number of drains.
        :raise DrainExists: another drain of the channel already sends to this receiver.
        """
        destination = None if url is None else parse_destination(url)
        async with self._locks.alone(channel_id):
            drain = self.drain(channel_id, drain_id)
            moved = evolve(
                drain,
                url=drain.url if url is None else url,
                durable=drain.durable if durable is None else durable,
            )
            others = [each for each in self._registry.drains_of(channel_id) if each.id != drain_id]
            if limited and drain.url is None:
                refuse_more(others, self._limits.now.drains_per_channel)
            if destination is not None:
                refuse_double(others, destination)
            elif moved.durable and moved.url is not None:
                destination = parse_destination(moved.url)
            if moved.durable:
                refuse_durable(destination, self.has_journal)
            await self._commit(channel_id, [Put(moved)])
            return moved

    @_bounded
    async def delete_drain(self, channel_id: str, drain_id: int) -> None:
        """
        Delete a drain.

        :raise UnknownChannel: the channel does not exist.
        :raise UnknownDrain: the drain does not exist, or belongs to another channel.
        """
        async with self._locks.alone(channel_id):
            drain = self.drain(channel_id, drain_id)
            await self._commit(channel_id, [Delete(Drain, drain.id)])

    def drain(self, channel_id: str, drain_id: int) -> Drain:
        """
        Return a drain.

        :raise UnknownChannel: the channel does not exist.
        :raise UnknownDrain: the drain does not exist, or belongs to another channel.
        """
        self._known(channel_id)
        drain = self._registry.drain(drain_id)
        if drain is None or drain.channel_id != channel_id:
            raise UnknownDrain
        return drain

    @_bounded
    async def open_session(self, body: bytes, caller: Credential) -> str:
        """
        Create a session.

        :param body: the JSON of the session (PROTOCOL §7), kept unchanged.
        :param caller: the credential of the caller. If it is in the store, the session ends when
            the credential is deleted.
        :return: the session's id, which is the right to read the channel.
        :raise BadSession: the body is not a valid session.
        :raise UnknownChannel: the channel in the body does not exist.
        :raise TooManySessions: the channel has the maximum number of sessions.
        """
        session = parse_session(body)
        if len(body) > MAX_SESSION_BYTES:
            raise BadSession(f"a session has at most {MAX_SESSION_BYTES} bytes")
        self._known(session.channel_id)
        self._sessions.count(session.channel_id)
        session_id = str(self._new_uuid())
        lifetime_s = self._limits.now.session_lifetime_s
        if self._registry.credential(caller.id) == caller:
            owner = owner_of(caller, session.channel_id).body()
            await self._store.put_session(
                owner_key(session_id), owner, lifetime_s + OWNER_OUTLIVES_S
            )
        await self._store.put_session(session_id, body, lifetime_s)
        if self._registry.channel(session.channel_id) is None:
            # The channel was deleted meanwhile, with the sessions that it had then.
            await self._store.end_session(session_id)
            raise UnknownChannel
        return session_id

    @_bounded
    async def end_session(self, session_id: str, caller: Credential) -> None:
        """
        End a session, and end the tails of the session on every node.

        :raise UnknownSession: the session does not exist, or the caller may not read its channel.
        """
        kept = await self._store.get_session(session_id) if is_session_id(session_id) else None
        if kept is None or not may_read(caller, channel_of_session(kept) or ""):
            raise UnknownSession
        await self._store.end_session(session_id)
        await self._store.end_session(owner_key(session_id))

    # Internals.

    def _checked(self, token_names: Iterable[str]) -> list[str]:
        """Return the given token names in order, without repetitions, if all are valid."""
        names = list(dict.fromkeys(token_names))
        bound = self._limits.now.tokens_per_channel
        if len(names) > bound:
            raise TooManyNames(f"a channel has at most {bound} tokens")
        return list(map(check_token_name, names))

    def _known(self, channel_id: str) -> Channel:
        channel = self._registry.channel(channel_id)
        if channel is None:
            raise UnknownChannel
        return channel

    def _new_tokens(self, channel_id: str, names: Iterable[str]) -> list[Token]:
        """Make tokens that are newer than all other tokens of the channel."""
        others = self._registry.tokens_of(channel_id)
        newest_us = max((other.created_us for other in others), default=0)
        created_us = max(int(wall_s(self._clock) * 1_000_000), newest_us + 1)
        return [
            Token(f"t.{self._new_uuid()}", channel_id, name, each_us)
            for each_us, name in enumerate(names, created_us)
        ]

    async def _commit(self, channel_id: str, changes: Sequence[Change]) -> None:
        """Write changes of one channel to the store."""
        await unbroken(self._store.commit(changes, channel_id))
