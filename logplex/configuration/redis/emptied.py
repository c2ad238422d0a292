"""
A mark in the configuration Redis by which a node sees that it was emptied meanwhile.

The values cannot tell: whoever writes one right after ``FLUSHALL``, or right after a restart that
lost everything, makes the rest look deleted.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from logplex.interfaces import StoreAway
from logplex.redis.connection import Refused
from logplex.redis.link import RedisLink

#: Holds what the first node put there; the same for all nodes, for as long as Redis keeps it.
MARK_KEY = "logplex:filled"
#: The command whose answer :meth:`Mark.is_gone` takes.
READ_MARK = ("GET", MARK_KEY)


class Mark:
    """The mark, as this node saw it last when it had read everything."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._seen: bytes | None = None

    async def gone(self) -> bool:
        """
        Whether Redis does not hold the mark any more that was seen. Fails with
        :class:`StoreAway`, or ``Refused`` where it is not let read.
        """
        return self._seen is not None and self.is_gone(await self._link.ask(*READ_MARK))

    def is_gone(self, answer: Any) -> bool:
        """The same, from the answer to :data:`READ_MARK`. One that is not let read is there."""
        refused = isinstance(answer, Refused)
        return not refused and self._seen is not None and answer != self._seen

    async def leave(self) -> None:
        """Redis holds everything: see to it that there is a mark, and remember it."""
        try:
            await self._link.ask("SET", MARK_KEY, uuid4().hex, "NX")
            self._seen = await self._link.ask(*READ_MARK)
        except StoreAway:
            # What was seen before still tells whether it is the same.
            pass
        except Refused:
            # A Redis that lets us keep no such key is watched by its values alone.
            self._seen = None
