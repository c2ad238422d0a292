# SPDX-License-Identifier: Apache-2.0

"""
The parts of a syslog message (RFC 5424): its head, its structured data and its text.
"""

from __future__ import annotations

import re

#: The most bytes that a message has (PROTOCOL §2).
MAX_MESSAGE_BYTES = 10_240

#: U+FEFF in UTF-8. Some senders write it before PRI or at the start of a connection.
BOM = b"\xef\xbb\xbf"

#: The end of a message that was too long (PROTOCOL §3).
CUT_MARK = "…".encode()

#: ``<PRI>1`` for every PRI that there is (RFC 5424 §6.2.1: 0 to 191, no leading zeros).
VALID_HEADS = frozenset(b"<%d>1" % pri for pri in range(192))

# One element of RFC 5424 §6.3: an SD-ID and its parameters. An SD-ID alone is an element only if it
# has an "@" or is registered, because programs write "[error] text". No part of it can match in two
# ways, so a text that only begins like structured data costs one way back. (A possessive group
# would cost none, and matches wrongly before Python 3.11.5.)
_NAME_BYTE = rb"""[^\x00-\x20=\]"\x7f-\xff]"""
_ELEMENT = rb"""\[(?:
    (?:[^\x00-\x20=\]"\x7f-\xff@]*@%b*|timeQuality|origin|meta)(?=\])
    |%b+(?:[ ]+%b+="[^"\\\]]*(?:\\.[^"\\\]]*)*")+
)\]""" % (
    _NAME_BYTE,
    _NAME_BYTE,
    _NAME_BYTE,
)
_STRUCTURED_DATA = re.compile(rb"(?:%b)+(?:[ ]|\Z)" % _ELEMENT, re.DOTALL | re.VERBOSE)
_PART_OF_A_CHARACTER = re.compile(
    rb"(?:[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2})\Z"
)


def cut_message(beginning: bytes) -> bytes:
    """
    Shorten a message that is too long: keep whole UTF-8 characters, and append ``…``.

    :param beginning: the first :data:`MAX_MESSAGE_BYTES` bytes of the message, or more.
    """
    kept = beginning[: MAX_MESSAGE_BYTES - len(CUT_MARK)]
    part = _PART_OF_A_CHARACTER.search(kept, len(kept) - 3)
    return (kept[: part.start()] if part else kept) + CUT_MARK


def has_head(message: bytes) -> bool:
    """Return true if a message begins with a head of RFC 5424, ``<PRI>1 SP``."""
    head, space, _ = message[:7].partition(b" ")
    return bool(space) and head in VALID_HEADS


def text_of(rest: bytes) -> bytes:
    r"""
    Return the text of a message, given everything after its sixth field.

    ``-`` or elements of RFC 5424's grammar are skipped together with the space after them. In a
    value, a backslash escapes ``"``, ``\\`` and ``]``. The text of a message without structured
    data begins at once, also if it begins with a bracket (PROTOCOL §2). A message that has
    structured data and no other text is shown with that.
    """
    if rest[:1] == b"[":
        found = _STRUCTURED_DATA.match(rest)
        if found is None:
            return rest
        text = rest[found.end() :]
        return text if text.strip() else found[0].rstrip()
    if rest == b"-":
        return b""
    return rest[2:] if rest[:2] == b"- " else rest
