"""Stand-ins that several tests share; each passes the contract suite of its interface."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from logplex.interfaces import IFollower, IOutlet, ISpool
from logplex.model import Recent


@implementer(IOutlet)
@define(eq=False)
class ListOutlet:
    """Keeps what it is given, call by call."""

    calls: list[list[bytes]] = field(factory=list)

    def push(self, messages: list[bytes]) -> None:
        self.calls.append(list(messages))

    @property
    def messages(self) -> list[bytes]:
        return [message for call in self.calls for message in call]


@implementer(ISpool)
@define(eq=False)
class RecordingSpool:
    """Remembers what was appended: ``(channel id, messages, keep)``. Numbers and keeps nothing."""

    appended: list[tuple[str, list[bytes], bool]] = field(factory=list)

    def append(self, channel_id: str, messages: list[bytes], keep: bool = True) -> None:
        self.appended.append((channel_id, list(messages), keep))

    def recent(self, channel_id: str) -> Deferred[Recent]:
        return succeed(Recent(0, []))

    def follow(self, channel_id: str, follower: IFollower) -> Deferred[None]:
        return succeed(None)

    def unfollow(self, channel_id: str, follower: IFollower) -> None:
        pass

    def forget(self, channel_id: str) -> None:
        pass

    def close(self) -> Deferred[None]:
        return succeed(None)
