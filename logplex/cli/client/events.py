# SPDX-License-Identifier: Apache-2.0

"""
A decoder for Server-Sent Events (HTML standard, section 9.2.6).
"""

from __future__ import annotations

from attrs import define, field, frozen

#: The longest line, and the longest data of an event. No tail sends more.
MAX_BYTES = 1_048_576

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class TooLong(ValueError):
    """A line or an event in the stream is longer than the bound."""


@frozen
class Event:
    """
    An event.

    :ivar data: the event's text, without its last LF.
    :ivar id: the event's id, or ``None``.
    """

    data: bytes
    id: bytes | None = None


@frozen
class Comment:
    """A comment line; it is not part of an event."""

    text: bytes


@frozen
class LastEventId:
    """An id that comes without an event: the client should resume the stream after it."""

    id: bytes


@define(eq=False, repr=False)
class EventDecoder:
    """
    Decode the bytes of an event stream. Event names and ``retry`` are ignored.

    :param max_bytes: the longest line, and the longest data of an event.
    """

    max_bytes: int = MAX_BYTES
    _rest: bytes = b""
    #: The last chunk ended in CR: a LF at the start of the next one belongs to the same line end.
    _after_cr: bool = False
    _at_start: bool = True
    _data: list[bytes] = field(factory=list)
    _data_bytes: int = 0
    _id: bytes | None = None

    def decode(self, chunk: bytes) -> list[Event | Comment | LastEventId]:
        """
        Return the events, comments and ids that are complete with this chunk.

        :raise TooLong: the bound is exceeded. The decoder cannot be used any more.
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
