# SPDX-License-Identifier: Apache-2.0

"""
Hide secrets in the arguments of this process. Other users of the machine can see the arguments
(``ps``, ``/proc``).
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

#: Options whose value is a secret.
SECRET_OPTIONS = (b"--credential", b"--token")

#: The user and password of a URL, and tokens.
_SECRET = re.compile(rb"(?<=://)[^/?#\s]*(?=@)|\bt\.[0-9a-f-]{36}")


def hide_secrets() -> None:
    """
    Overwrite secrets in the arguments of this process, as ``mysql`` and ``redis-cli`` do.

    Other users can see the secrets before this call, for some hundredths of a second. The function
    works on Linux only: other systems do not show the address of the arguments.
    """
    with suppress(Exception):
        # Loading ctypes takes time, and systems without /proc do not need it.
        fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
        from ctypes import c_char

        # proc(5): fields 48 and 49 are arg_start and arg_end. The first of these is field 3.
        start, end = int(fields[45]), int(fields[46])
        memory = (c_char * (end - start)).from_address(start)
        memory.raw = b"\0".join(without_secrets(memory.raw.split(b"\0")))


def without_secrets(arguments: list[bytes]) -> list[bytes]:
    """Return the arguments with ``x`` in place of each character of a secret."""
    shown = []
    is_secret = False
    for argument in arguments:
        name, equals, value = argument.partition(b"=")
        if is_secret:
            shown.append(b"x" * len(argument))
        elif equals and name in SECRET_OPTIONS:
            shown.append(name + equals + b"x" * len(value))
        else:
            shown.append(_SECRET.sub(lambda found: b"x" * len(found[0]), argument))
        is_secret = argument in SECRET_OPTIONS
    return shown
