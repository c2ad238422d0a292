# SPDX-License-Identifier: Apache-2.0

"""Followers of a channel's spool that a test reads."""

from __future__ import annotations

from zope.interface import implementer

from logplex.interfaces import IFollower


@implementer(IFollower)
class Diary:
    """A follower that writes everything down."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.turns = 0

    def received(self, first: int | None, messages: list[bytes]) -> None:
        self.told += list(enumerate(messages, first)) if first else [*messages]

    def interrupted(self) -> None:
        self.turns += 1
        self.told.append("interrupted")

    def resumed(self) -> None:
        self.turns += 1
        self.told.append("resumed")

    def missed(self) -> None:
        self.told.append("missed")

    def since(self) -> list[object]:
        """Return what was told since the last call."""
        told, self.told = self.told, []
        return told
