"""
What Logplex knows: frozen values, without behaviour and without Twisted.

The words are those of the wire contract. Ids of channels, tokens and sessions are ``str``,
ids of drains are ``int``.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

#: Channel flag: nobody may tail this channel live.
NO_TAIL = "no_tail"
#: Channel flag: this channel's messages are numbered and published, but not kept.
NO_REDIS = "no_redis"
CHANNEL_FLAGS = frozenset({NO_TAIL, NO_REDIS})
#: Most channels have none; sharing it saves 200 bytes for each of them.
NO_FLAGS: frozenset[str] = frozenset()

#: The value of :attr:`Credential.channel` that means: may write into any channel.
ANY_CHANNEL = "any"


@frozen
class Channel:
    """One log stream, usually one application."""

    id: str
    name: str = ""
    flags: frozenset[str] = NO_FLAGS


@frozen
class Token:
    """The right to write into one channel, under a name that readers see as the source."""

    id: str
    channel_id: str
    name: str
    #: Microseconds since the epoch; of two tokens with one name the newest is shown.
    created_us: int = 0


@frozen
class Drain:
    """A destination that gets a copy of every message of a channel; without URL: reserved."""

    id: int
    channel_id: str
    token: str
    url: str | None = field(default=None, repr=False)


@frozen
class Credential:
    """
    An id and a secret for HTTP basic auth, and what they permit.

    :ivar secret: the password as it is kept: plain, or a hash that says which one it is.
    :ivar full_api: may use every route of the APIs.
    :ivar channel: a channel id, :data:`ANY_CHANNEL`, or ``None`` for no channel.
    """

    id: str
    secret: str = field(repr=False)
    name: str = ""
    full_api: bool = False
    channel: str | None = None


Value = Channel | Token | Drain | Credential


@frozen
class Put:
    """A value was added, or replaced the one of the same kind and id."""

    value: Value


@frozen
class Delete:
    """The value of this kind and id is gone."""

    kind: type[Channel] | type[Token] | type[Drain] | type[Credential]
    id: str | int


Change = Put | Delete


@frozen
class Recent:
    """
    A channel's kept messages.

    :ivar last: the number of the channel's newest message at that moment, kept or not; 0 where
        the channel has none.
    :ivar entries: ``(number, cooked message)``, oldest first; the number is ``None`` for a
        message that somebody pushed without one.
    :ivar complete: false where what keeps the channel is away; the entries are then what can be
        had all the same.
    :ivar moving: whether the channel is numbered in two places, or was while this was read. Then
        numbers do not say where the entries end: they are everything up to the moment of the
        answer, and whatever followers are told after it is new.
    :ivar jumps: what the channel's number was before these numbers, where that was not one less.
    """

    last: int
    entries: list[tuple[int | None, bytes]]
    complete: bool = True
    moving: bool = False
    jumps: Mapping[int, int] = field(factory=dict)


@frozen
class DrainStatus:
    """
    How a drain fares on this node. Times are seconds since the epoch.

    :ivar state: where in its life it is; ``reserved`` without URL, ``unusable`` with one that
        cannot be a drain's.
    :ivar received: messages since the start of the node; each of them is delivered, dropped or
        buffered.
    :ivar last_error: for its owner, without anything secret of the URL.
    :ivar next_attempt: when it will try to connect again, while it waits for that.
    """

    state: str
    received: int = 0
    delivered: int = 0
    dropped: int = 0
    buffered: int = 0
    last_success: float | None = None
    last_error: str | None = None
    last_error_at: float | None = None
    next_attempt: float | None = None


@frozen
class DrainTest:
    """
    What became of a test message.

    :ivar status: the HTTP status of the receiver's answer, where there was one.
    :ivar said: the beginning of what the receiver said; printable, at most 200 characters.
    :ivar error: why it was not delivered.
    """

    delivered: bool
    status: int | None = None
    said: str = ""
    error: str | None = None
