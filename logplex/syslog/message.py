"""
A syslog message (RFC 5424) as Logplex sees it: which fields it has, and where its text begins.
"""

from __future__ import annotations

import re

#: The most bytes that a message has (PROTOCOL §2).
MAX_MESSAGE_BYTES = 10_240

#: ``<PRI>1`` for every PRI that there is (RFC 5424 §6.2.1: 0 to 191, no leading zeros).
VALID_HEADS = frozenset(b"<%d>1" % pri for pri in range(192))

# Nothing in it can match in two ways, so a text that only begins like structured data costs one way
# back. (A possessive group would cost none, and matches wrongly before Python 3.11.5.)
_STRUCTURED_DATA = re.compile(rb"(?:\[[^\]\\]*(?:\\.[^\]\\]*)*\])+(?: |\Z)", re.DOTALL)


def skip_structured_data(rest: bytes) -> bytes:
    r"""
    The text of a message, given everything after its sixth field.

    ``-`` or one or more ``[…]`` elements, in which a backslash escapes a ``]``, are skipped
    together with the space after them; where there are none, the text begins at once (PROTOCOL
    §2). So does one that begins with ``[`` but is not closed, or goes on right after its ``]``.
    """
    if rest[:1] == b"[":
        found = _STRUCTURED_DATA.match(rest)
        return rest[found.end() :] if found else rest
    if rest == b"-":
        return b""
    return rest[2:] if rest[:2] == b"- " else rest
