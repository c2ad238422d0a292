"""
Server-Sent Events, decoded (the HTML standard, section 9.2.6).
"""

from __future__ import annotations

from attrs import define, field, frozen

#: A line, or the data of an event, that is longer than this is no tail's.
MAX_BYTES = 1_048_576

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class TooLong(ValueError):
    """The stream holds a line or an event past the bound."""


@frozen
class Event:
    """
    Something was told.

    :ivar id: the event's own; ``None`` where it has none.
    """

    data: bytes
    id: bytes | None = None


@frozen
class Comment:
    """Something beside the events."""

    text: bytes


@frozen
class LastEventId:
    """How far the stream has come, where no event says it."""

    id: bytes


@define(eq=False, repr=False)
class EventDecoder:
    """
    Bytes in; events, comments and positions out. Names of events and ``retry`` are read over.

    :param max_bytes: see :data:`MAX_BYTES`.
    """

    max_bytes: int = MAX_BYTES
    _rest: bytes = b""
    #: The last line ended in CR: a LF that follows belongs to it.
    _after_cr: bool = False
    _at_start: bool = True
    _data: list[bytes] = field(factory=list)
    _data_bytes: int = 0
    _id: bytes | None = None

    def decode(self, chunk: bytes) -> list[Event | Comment | LastEventId]:
        """
        What ends in this chunk.

        :raise TooLong: and no more can be decoded.
        """
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        text = self._rest + chunk
        if self._at_start and not _BYTE_ORDER_MARK.startswith(text):
            self._at_start = False
            text = text.removeprefix(_BYTE_ORDER_MARK)
        self._after_cr = text.endswith(b"\r")
        *lines, self._rest = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        if len(self._rest) > self.max_bytes:
            raise TooLong
        told = []
        for line in lines:
            found = self._line(line)
            if found is not None:
                told.append(found)
        return told

    def _line(self, line: bytes) -> Event | Comment | LastEventId | None:
        if not line:
            return self._dispatch()
        if line.startswith(b":"):
            return Comment(line[1:].removeprefix(b" "))
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data_bytes += len(value) + 1
            if self._data_bytes > self.max_bytes:
                raise TooLong
            self._data.append(value)
        elif name == b"id" and b"\0" not in value:
            self._id = value
        return None

    def _dispatch(self) -> Event | LastEventId | None:
        data, self._data, self._data_bytes = self._data, [], 0
        id, self._id = self._id, None
        if data:
            return Event(b"\n".join(data), id)
        return None if id is None else LastEventId(id)
