# SPDX-License-Identifier: Apache-2.0

"""
The configuration in memory: token -> route, channel -> tokens, drains and outlets.

The configuration store tells the registry of every value and change. The APIs read the registry;
the drains and tails observe it. The message path knows the configuration only through it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from attrs import define, field
from twisted.logger import Logger
from zope.interface import implementer

from logplex.interfaces import (
    IChannelObserver,
    IConfigListener,
    IDrainObserver,
    IOutlet,
)
from logplex.model.values import (
    NO_REDIS,
    Change,
    Channel,
    Credential,
    Delete,
    Drain,
    Put,
    Token,
    Value,
)
from logplex.routing.activity import ChannelActivity
from logplex.syslog.inner import Route

_log = Logger()

T = TypeVar("T")


@define(eq=False, repr=False)
class Stream:
    """
    The data of one channel that the message path needs.

    :ivar channel: the channel; ``None`` while only tokens or drains of the channel are known.
    :ivar pending: the channel's messages in the present chunk; empty between chunks.
    :ivar outlets: the receivers of the channel's messages, besides the spool.
    :ivar journal: puts the channel's messages into the journal, if it has a durable drain.
    :ivar activity: the counts of the channel's messages and requests.
    """

    id: str
    channel: Channel | None = None
    keep: bool = True
    pending: list[bytes] = field(factory=list)
    outlets: tuple[IOutlet, ...] = ()
    journal: IOutlet | None = None
    tokens: dict[str, Token] = field(factory=dict)
    drains: tuple[Drain, ...] = ()
    activity: ChannelActivity = field(factory=ChannelActivity)


@implementer(IConfigListener)
class Registry:
    """
    All values of the configuration, in memory, found by their ids.

    :ivar routes: the route of each token id, for the inner loop of the router. Tokens of unknown
        channels are left out.
    :ivar ready: true after the configuration store has been loaded.
    :ivar wait_for_node: true if the node itself sets :attr:`ready` when it can serve requests.
    :ivar leaving: true while the node waits for load balancers before it stops: health checks
        answer 503, and everything else works.
    """

    def __init__(self) -> None:
        #: The number of channels whose messages go into the journal.
        self.journaled = 0
        self.routes: dict[bytes, Route[Stream]] = {}
        self.ready = False
        self.wait_for_node = False
        self.leaving = False
        self._streams: dict[str, Stream] = {}
        self._channels: dict[str, Channel] = {}
        self._tokens: dict[str, Token] = {}
        self._drains: dict[int, Drain] = {}
        self._drain_ids: dict[str, int] = {}
        self._credentials: dict[str, Credential] = {}
        self._values: dict[type[Any], dict[Any, Any]] = {
            Channel: self._channels,
            Token: self._tokens,
            Drain: self._drains,
            Credential: self._credentials,
        }
        self._channel_observers: list[IChannelObserver] = []
        self._drain_observers: list[IDrainObserver] = []

    # Called by the configuration store.

    def loaded(self, values: Sequence[Value]) -> None:
        """See :class:`IConfigListener`. Replace all known values by these values."""
        known = {(kind, key) for kind, of in self._values.items() for key in of}
        present = {(type(value), value.id) for value in values}
        self.changed([Delete(kind, key) for kind, key in known - present])
        self.changed([Put(value) for value in values])
        self.ready = not self.wait_for_node

    def changed(self, changes: Sequence[Change]) -> None:
        """See :class:`IConfigListener`."""
        for change in changes:
            if isinstance(change, Put):
                self._put(change.value)
            else:
                self._delete(change)

    # Read by the APIs.

    def channel(self, channel_id: str) -> Channel | None:
        return self._channels.get(channel_id)

    def channels(self) -> Iterator[Channel]:
        return iter(list(self._channels.values()))

    def token(self, token_id: str) -> Token | None:
        return self._tokens.get(token_id)

    def drain(self, drain_id: int) -> Drain | None:
        return self._drains.get(drain_id)

    def drain_of_token(self, token: str) -> Drain | None:
        """Return the drain that has this token; ``None`` if there is none."""
        return self._drains.get(self._drain_ids.get(token, -1))

    def credential(self, credential_id: str) -> Credential | None:
        return self._credentials.get(credential_id)

    def values(self) -> list[Value]:
        """Return all values of the configuration."""
        return [value for of in self._values.values() for value in of.values()]

    def credentials(self) -> Iterator[Credential]:
        return iter(list(self._credentials.values()))

    def tokens_of(self, channel_id: str) -> tuple[Token, ...]:
        """Return the tokens of a channel, the newest token last."""
        stream = self._streams.get(channel_id)
        tokens = stream.tokens.values() if stream else ()
        return tuple(sorted(tokens, key=lambda each: (each.created_us, each.id)))

    def drains_of(self, channel_id: str) -> tuple[Drain, ...]:
        """Return the drains of a channel in the order of their ids, including reserved drains."""
        stream = self._streams.get(channel_id)
        return stream.drains if stream else ()

    def stream(self, channel_id: str) -> Stream | None:
        """Return the stream of a channel; ``None`` if the channel is unknown."""
        stream = self._streams.get(channel_id)
        return stream if stream and stream.channel else None

    def streams(self) -> Iterator[Stream]:
        return iter([stream for stream in self._streams.values() if stream.channel])

    def counts(self) -> Mapping[str, int]:
        """
        Return the number of configuration values of each kind. The keys are the names of the kinds
        in lower case.
        """
        return {kind.__name__.lower(): len(of) for kind, of in self._values.items()}

    # Observers and outlets.

    def observe_channels(self, observer: IChannelObserver) -> None:
        """Tell the observer of every known channel now, and of every later change."""
        self._channel_observers.append(observer)
        for channel in list(self._channels.values()):
            observer.channel_put(channel)

    def observe_drains(self, observer: IDrainObserver) -> None:
        """Tell the observer of every known drain now, and of every later change."""
        self._drain_observers.append(observer)
        for drain in list(self._drains.values()):
            observer.drain_put(drain)

    def attach(self, channel_id: str, outlet: IOutlet) -> None:
        """Add an outlet to a channel. The outlet gets all later messages of the channel."""
        stream = self._stream(channel_id)
        stream.outlets = (*stream.outlets, outlet)

    def keep_in(self, channel_id: str, journal: IOutlet | None) -> None:
        """Write the later messages of a channel to a journal too. ``None`` ends this."""
        stream = self._stream(channel_id)
        self.journaled += (journal is not None) - (stream.journal is not None)
        stream.journal = journal
        self._drop_if_empty(stream)

    def detach(self, channel_id: str, outlet: IOutlet) -> None:
        """Remove an outlet from a channel. The outlet gets no more messages of the channel."""
        stream = self._streams.get(channel_id)
        if stream:
            stream.outlets = tuple(other for other in stream.outlets if other is not outlet)
            self._drop_if_empty(stream)

    # Internals.

    def _stream(self, channel_id: str) -> Stream:
        stream = self._streams.get(channel_id)
        if stream is None:
            stream = self._streams[channel_id] = Stream(channel_id)
        return stream

    def _drop_if_empty(self, stream: Stream) -> None:
        if not (
            stream.channel or stream.tokens or stream.drains or stream.outlets or stream.journal
        ):
            self._streams.pop(stream.id, None)

    def _put(self, value: Value) -> None:
        of = self._values[type(value)]
        old = of.get(value.id)
        if old == value:
            return
        if _channel_of(old) != _channel_of(value) and old is not None:
            self._delete(Delete(type(old), old.id))
        of[value.id] = value
        if isinstance(value, Channel):
            self._channel_put(value)
        elif isinstance(value, Token):
            self._token_put(value)
        elif isinstance(value, Drain):
            self._drain_put(value)

    def _delete(self, gone: Delete) -> None:
        value = self._values[gone.kind].pop(gone.id, None)
        if isinstance(value, Channel):
            self._channel_deleted(value)
        elif isinstance(value, Token):
            self._token_deleted(value)
        elif isinstance(value, Drain):
            self._drain_deleted(value)

    def _channel_put(self, channel: Channel) -> None:
        stream = self._stream(channel.id)
        stream.channel = channel
        stream.keep = NO_REDIS not in channel.flags
        for token in stream.tokens.values():
            self._route(token, stream)
        for observer in self._channel_observers:
            _tell(observer.channel_put, channel)

    def _channel_deleted(self, channel: Channel) -> None:
        stream = self._streams[channel.id]
        stream.channel = None
        for token in stream.tokens.values():
            self.routes.pop(token.id.encode(), None)
        for observer in self._channel_observers:
            _tell(observer.channel_deleted, channel.id)
        self._drop_if_empty(stream)

    def _token_put(self, token: Token) -> None:
        stream = self._stream(token.channel_id)
        stream.tokens[token.id] = token
        if stream.channel:
            self._route(token, stream)

    def _token_deleted(self, token: Token) -> None:
        self.routes.pop(token.id.encode(), None)
        stream = self._streams[token.channel_id]
        stream.tokens.pop(token.id, None)
        self._drop_if_empty(stream)

    def _route(self, token: Token, stream: Stream) -> None:
        self.routes[token.id.encode()] = (token.name.encode(), stream.pending, stream)

    def _drain_put(self, drain: Drain) -> None:
        self._drain_ids[drain.token] = drain.id
        stream = self._stream(drain.channel_id)
        others = [other for other in stream.drains if other.id != drain.id]
        stream.drains = tuple(sorted([*others, drain], key=lambda each: each.id))
        for observer in self._drain_observers:
            _tell(observer.drain_put, drain)

    def _drain_deleted(self, drain: Drain) -> None:
        self._drain_ids.pop(drain.token, None)
        stream = self._streams[drain.channel_id]
        stream.drains = tuple(other for other in stream.drains if other.id != drain.id)
        for observer in self._drain_observers:
            _tell(observer.drain_deleted, drain)
        self._drop_if_empty(stream)


def _tell(observer: Callable[[T], None], value: T) -> None:
    """Tell an observer of a value. An error in the observer does not affect other observers."""
    try:
        observer(value)
    except Exception:
        _log.failure("bug: {observer} failed", observer=observer.__qualname__)


def _channel_of(value: Value | None) -> str | None:
    """Return the id of the channel to which a token or drain belongs; ``None`` for other values."""
    return value.channel_id if isinstance(value, Token | Drain) else None
