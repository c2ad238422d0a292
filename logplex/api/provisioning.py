"""
The verbs that both APIs share: what is done to channels, tokens, drains and sessions, and what
is refused. Each API turns the refusals into answers of its own.

Changes to one channel are made one after another, so that no two requests that come together
can, say, add one drain too many. Every verb ends within a bound, the store's silence included.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import UUID, uuid4

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime

from logplex.api.refusals import (
    BadChannelId,
    BadName,
    DrainExists,
    TooManyDrains,
    UnknownChannel,
    UnknownDrain,
)
from logplex.interfaces import IConfigStore, ISpool
from logplex.model.destination import BadDestination, parse_destination
from logplex.model.session import BadSession, parse_session
from logplex.model.values import (
    Change,
    Channel,
    Credential,
    Delete,
    Drain,
    Put,
    Token,
    is_id,
)
from logplex.routing.registry import Registry
from logplex.settings import Limits
from logplex.waiting import in_time, unbroken

MAX_TOKEN_NAME_CHARACTERS = 48
# Printable ASCII without space.
_TOKEN_NAME = re.compile(rf"[!-~]{{1,{MAX_TOKEN_NAME_CHARACTERS}}}")
#: A session's JSON is kept as it came, but not if it is longer than this.
MAX_SESSION_BYTES = 8_192

_Result = TypeVar("_Result")


def check_channel_id(channel_id: str) -> str:
    """
    Return the id if a channel may have it (PROTOCOL §1).

    :raise BadChannelId: it cannot.
    """
    if not is_id(channel_id):
        raise BadChannelId
    return channel_id


def check_token_name(name: str) -> str:
    """
    Return the name if a token may have it (PROTOCOL §1).

    :raise BadName: it cannot.
    """
    if not _TOKEN_NAME.fullmatch(name):
        raise BadName
    return name


def shown_tokens(tokens: Iterable[Token]) -> dict[str, str]:
    """Name -> id; of several tokens with one name the newest, which comes last."""
    return {token.name: token.id for token in tokens}


def url_with_port(url: str) -> str:
    """The URL as it is used. One that is in the store but cannot be a drain's stays as it is."""
    try:
        return parse_destination(url).with_port
    except BadDestination:
        return url


@define(eq=False, repr=False)
class Provisioning:
    """
    Changes what the store holds, and refuses what may not be.

    Every ``Deferred`` may fail with :class:`StoreAway`, and with the refusals that are named.

    :param limits: say how many drains with a URL a channel may have, and how long sessions live.
    :param new_uuid: gives random UUIDs, for tokens and sessions.
    """

    _store: IConfigStore
    _registry: Registry
    _spool: ISpool
    _clock: IReactorTime
    _limits: Limits
    _new_uuid: Callable[[], UUID] = uuid4
    _locks: dict[str, DeferredLock] = field(factory=dict, init=False)

    def ensure_channel(
        self,
        channel_id: str,
        token_names: Iterable[str] | None = None,
        flags: frozenset[str] | None = None,
    ) -> Deferred[bool]:
        """
        Make the channel if there is none, and give it exactly these token names.

        :param token_names: missing ones get a new token; tokens with other names are deleted.
            ``None`` leaves the tokens as they are.
        :param flags: ``None`` leaves them as they are.
        :return: whether the channel is new.
        :raise BadChannelId: or :class:`BadName`.
        """
        check_channel_id(channel_id)
        names = None if token_names is None else _checked(token_names)
        return self._bounded(self._ensure_channel(channel_id, names, flags))

    async def _ensure_channel(
        self, channel_id: str, names: list[str] | None, flags: frozenset[str] | None
    ) -> bool:
        async with self._alone(channel_id):
            known = self._registry.channel(channel_id)
            channel = known or Channel(channel_id)
            if flags is not None:
                channel = evolve(channel, flags=flags)
            changes: list[Change] = [] if channel == known else [Put(channel)]
            if names is not None:
                tokens = self._registry.tokens_of(channel_id)
                changes += [Delete(Token, each.id) for each in tokens if each.name not in names]
                has = {token.name for token in tokens}
                missing = [name for name in names if name not in has]
                changes += [Put(self._new_token(channel_id, name)) for name in missing]
            await self._commit(channel_id, changes)
            return known is None

    def create_channel(
        self, name: str, token_names: Iterable[str]
    ) -> Deferred[tuple[Channel, list[Token]]]:
        """
        Make a channel whose id is the next free integer.

        :raise BadName: one of the tokens' names.
        """
        return self._bounded(self._create_channel(name, _checked(token_names)))

    async def _create_channel(
        self, name: str, token_names: list[str]
    ) -> tuple[Channel, list[Token]]:
        channel_id = str(await self._store.new_id("channel_index"))
        while self._registry.channel(channel_id):  # somebody chose this id
            channel_id = str(await self._store.new_id("channel_index"))
        channel = Channel(channel_id, name)
        tokens = [self._new_token(channel_id, each) for each in token_names]
        await self._commit(channel_id, [Put(channel), *map(Put, tokens)])
        return channel, tokens

    def delete_channel(self, channel_id: str) -> Deferred[None]:
        """
        Delete the channel with its tokens, its drains and what is kept of its messages. So are
        credentials that are for nothing else: they must not open another channel of this id.

        :raise UnknownChannel: in the ``Deferred``.
        """
        return self._bounded(self._delete_channel(channel_id))

    async def _delete_channel(self, channel_id: str) -> None:
        async with self._alone(channel_id):
            self._known(channel_id)
            tokens = self._registry.tokens_of(channel_id)
            drains = self._registry.drains_of(channel_id)
            useless = [
                each
                for each in self._registry.credentials()
                if each.channel == channel_id and not each.full_api
            ]
            await self._commit(
                channel_id,
                [
                    *(Delete(Credential, each.id) for each in useless),
                    *(Delete(Drain, each.id) for each in drains),
                    *(Delete(Token, each.id) for each in tokens),
                    Delete(Channel, channel_id),
                ],
            )
            self._spool.forget(channel_id)

    def add_token(self, channel_id: str, name: str) -> Deferred[Token]:
        """
        A new token, beside those that have the same name.

        :raise BadName: the name.
        :raise UnknownChannel: in the ``Deferred``.
        """
        return self._bounded(self._add_token(channel_id, check_token_name(name)))

    async def _add_token(self, channel_id: str, name: str) -> Token:
        async with self._alone(channel_id):
            self._known(channel_id)
            token = self._new_token(channel_id, name)
            await self._commit(channel_id, [Put(token)])
            return token

    def reserve_drain(self, channel_id: str) -> Deferred[Drain]:
        """
        A drain without URL, for :meth:`move_drain` later.

        :raise UnknownChannel: or :class:`TooManyDrains`, in the ``Deferred``.
        """
        return self._bounded(self._add_drain(channel_id, None))

    def add_drain(self, channel_id: str, url: str) -> Deferred[Drain]:
        """
        :raise BadDestination: the URL.
        :raise UnknownChannel: or :class:`TooManyDrains`, or :class:`DrainExists`, in the
            ``Deferred``.
        """
        parse_destination(url)
        return self._bounded(self._add_drain(channel_id, url))

    async def _add_drain(self, channel_id: str, url: str | None) -> Drain:
        async with self._alone(channel_id):
            self._known(channel_id)
            drains = self._registry.drains_of(channel_id)
            self._refuse_more(drains)
            if url is not None:
                _refuse_double(drains, url)
            drain_id = await self._store.new_id("drain_index")
            drain = Drain(drain_id, channel_id, f"d.{self._new_uuid()}", url)
            await self._commit(channel_id, [Put(drain)])
            return drain

    def move_drain(
        self, channel_id: str, drain_id: int, url: str, limited: bool = False
    ) -> Deferred[Drain]:
        """
        Give a reserved drain a URL, or another one to a drain that has one. The token stays.

        :param limited: refuse to make one more drain with a URL than a channel may have. (Only
            the legacy API does: API v3 looked when the drain was reserved.)
        :raise BadDestination: the URL.
        :raise UnknownChannel: or :class:`UnknownDrain`, or :class:`TooManyDrains`, or
            :class:`DrainExists`, in the ``Deferred``.
        """
        parse_destination(url)
        return self._bounded(self._move_drain(channel_id, drain_id, url, limited))

    async def _move_drain(self, channel_id: str, drain_id: int, url: str, limited: bool) -> Drain:
        async with self._alone(channel_id):
            drain = self.drain(channel_id, drain_id)
            others = [each for each in self._registry.drains_of(channel_id) if each.id != drain_id]
            if limited and drain.url is None:
                self._refuse_more(others)
            _refuse_double(others, url)
            moved = evolve(drain, url=url)
            await self._commit(channel_id, [Put(moved)])
            return moved

    def delete_drain(self, channel_id: str, drain_id: int) -> Deferred[None]:
        """:raise UnknownChannel: or :class:`UnknownDrain`, in the ``Deferred``."""
        return self._bounded(self._delete_drain(channel_id, drain_id))

    async def _delete_drain(self, channel_id: str, drain_id: int) -> None:
        async with self._alone(channel_id):
            drain = self.drain(channel_id, drain_id)
            await self._commit(channel_id, [Delete(Drain, drain.id)])

    def drain(self, channel_id: str, drain_id: int) -> Drain:
        """
        :raise UnknownChannel: there is no such channel.
        :raise UnknownDrain: there is no such drain, or it is another channel's.
        """
        self._known(channel_id)
        drain = self._registry.drain(drain_id)
        if drain is None or drain.channel_id != channel_id:
            raise UnknownDrain
        return drain

    def open_session(self, body: bytes) -> Deferred[str]:
        """
        A new session.

        :param body: its JSON (PROTOCOL §7), kept as it is.
        :return: the session's id, which is the right to read the channel.
        :raise BadSession: the body.
        :raise UnknownChannel: the channel that the body names.
        """
        session = parse_session(body)
        if len(body) > MAX_SESSION_BYTES:
            raise BadSession(f"a session has at most {MAX_SESSION_BYTES} bytes")
        self._known(session.channel_id)
        return self._bounded(self._open_session(body))

    async def _open_session(self, body: bytes) -> str:
        session_id = str(self._new_uuid())
        await self._store.put_session(session_id, body, self._limits.session_lifetime_s)
        return session_id

    # How it is done.

    def _known(self, channel_id: str) -> Channel:
        channel = self._registry.channel(channel_id)
        if channel is None:
            raise UnknownChannel
        return channel

    def _refuse_more(self, drains: Iterable[Drain]) -> None:
        if sum(each.url is not None for each in drains) >= self._limits.drains_per_channel:
            raise TooManyDrains

    def _new_token(self, channel_id: str, name: str) -> Token:
        """A token that is newer than the channel's others, also if the clock stands still."""
        others = self._registry.tokens_of(channel_id)
        newest_us = max((other.created_us for other in others), default=0)
        created_us = max(int(self._clock.seconds() * 1_000_000), newest_us + 1)
        return Token(f"t.{self._new_uuid()}", channel_id, name, created_us)

    @asynccontextmanager
    async def _alone(self, channel_id: str) -> AsyncIterator[None]:
        """Wait until nobody else changes this channel. The lock exists only while it is used."""
        lock = self._locks.setdefault(channel_id, DeferredLock())
        await lock.acquire()
        try:
            yield
        finally:
            lock.release()  # which may run the next one to its end
            if not lock.locked and self._locks.get(channel_id) is lock:
                del self._locks[channel_id]

    async def _commit(self, channel_id: str, changes: Sequence[Change]) -> None:
        """Change what belongs to a channel."""
        await unbroken(self._store.commit(changes, channel_id))

    def _bounded(self, verb: Coroutine[Deferred[Any], Any, _Result]) -> Deferred[_Result]:
        return in_time(Deferred.fromCoroutine(verb), self._clock)


def _checked(token_names: Iterable[str]) -> list[str]:
    """The names without doubles, in order."""
    return list(dict.fromkeys(map(check_token_name, token_names)))


def _refuse_double(drains: Iterable[Drain], url: str) -> None:
    used = url_with_port(url)
    if any(each.url is not None and url_with_port(each.url) == used for each in drains):
        raise DrainExists
