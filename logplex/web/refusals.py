"""
Answers that are given as soon as a request's head has been read.
"""

from __future__ import annotations

from attrs import frozen


@frozen
class Refusal:
    """
    An answer that is given as soon as a request's head has been read.

    :ivar headers: beside those that were already set on the request; the length is ours.
    :ivar delay_s: after how many seconds it is given; meanwhile nothing but a little is read.
    """

    status: int
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    delay_s: float = 0.0


def plain_refusal(status: int, text: str, *headers: tuple[bytes, bytes]) -> Refusal:
    """A refusal that says why in one line of plain text."""
    content_type = (b"Content-Type", b"text/plain; charset=utf-8")
    return Refusal(status, (content_type, *headers), text.encode())


TOO_LARGE = plain_refusal(413, "Request body too large")
SERVER_ERROR = plain_refusal(500, "Internal Server Error")
