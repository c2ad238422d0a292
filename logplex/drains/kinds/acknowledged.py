# SPDX-License-Identifier: Apache-2.0

"""
The bytes of a TCP connection that the peer's kernel has acknowledged (PROTOCOL §12).

Receivers of syslog send no answers. A durable drain can only know that the receiver's kernel has
acknowledged the bytes of a message.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from fcntl import ioctl
from typing import Any

#: The request of ``tcp(7)`` on Linux: bytes in the send queue that are not acknowledged yet.
_SIOCOUTQ = 0x5411

#: Return the number of bytes that a transport has written and its peer has not acknowledged.
Unacknowledged = Callable[[Any], int]


def unacknowledged_bytes(transport: Any) -> int:
    """
    Return the number of bytes sent on a TCP connection that the peer's kernel has not acknowledged
    yet. With TLS these are encrypted bytes.
    """
    answer = ioctl(transport.getHandle().fileno(), _SIOCOUTQ, b"\0" * 4)
    return int.from_bytes(answer, sys.byteorder)
