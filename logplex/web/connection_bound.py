# SPDX-License-Identifier: Apache-2.0

"""
Bound the open connections of a listener: the total number, and the number of each client address.
"""

from __future__ import annotations

from collections import Counter

from attrs import define, field
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger

_log = Logger()

#: The shortest time between two lines in the log of one listener, and the time for which a refusal
#: counts as a trouble of the node.
TROUBLE_S = 60.0
#: A bound below this is not shared between addresses: the half of it would be one connection.
LEAST_SHARED = 4


def address_of(peer: IAddress | None) -> str:
    """Return the address of a client. The result is empty for a client on a Unix socket."""
    return str(getattr(peer, "host", ""))


@define(eq=False, repr=False)
class ConnectionBound:
    """
    Count the open connections, and refuse new connections above the bound.

    One client address gets at most half of the connections that other clients leave free, so one
    client cannot block all others. A client on a Unix socket has no address, so only the total
    bound applies.

    :ivar refused: the number of refused connections since the start.
    """

    clock: IReactorTime
    open: int = field(default=0, init=False)
    refused: int = field(default=0, init=False)
    _by_address: Counter[str] = field(factory=Counter, init=False)
    _full_at: float | None = field(default=None, init=False)
    _logged_at: float | None = field(default=None, init=False)

    def admit(self, address: str, most: int) -> bool:
        """
        Count a new connection. Return false if there is no room for the connection.

        :param most: the maximum number of open connections.
        """
        own = self._by_address[address]
        free = most - (self.open - own)
        if self.open >= most:
            self._full_at = self.clock.seconds()
            self._refuse(f"all {most} connections are taken")
            return False
        if address and most >= LEAST_SHARED and 2 * (own + 1) > free + 1:
            self._refuse(f"{address} has {own} connections, half of those that others leave free")
            return False
        self.open += 1
        self._by_address[address] = own + 1
        return True

    def leave(self, address: str) -> None:
        """Remove an ended connection from the count."""
        self.open -= 1
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]

    def troubles(self, listener: str) -> list[str]:
        """
        Return a line of text if connections were refused in the last minute; else return nothing.

        :param listener: the name of the listener's option in ``[listen]``.
        """
        if self._full_at is None or self.clock.seconds() - self._full_at >= TROUBLE_S:
            return []
        return [f"the listener {listener} is full: it refuses connections"]

    def _refuse(self, why: str) -> None:
        self.refused += 1
        now = self.clock.seconds()
        if self._logged_at is None or now - self._logged_at >= TROUBLE_S:
            self._logged_at = now
            _log.warn(
                "a connection is refused: {why} ({refused} refused since the start)",
                why=why,
                refused=self.refused,
            )
