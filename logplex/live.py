# SPDX-License-Identifier: Apache-2.0

"""
A value that changes while the node runs.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from attrs import define

_T = TypeVar("_T")


@define(eq=False, repr=False)
class Live(Generic[_T]):
    """
    A container of one frozen value that is replaced as a whole while the node runs, such as the
    limits.

    Every part that depends on the value keeps the container, and reads :attr:`now` each time.
    """

    now: _T
