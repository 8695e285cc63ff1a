"""The second look that a finding needs, at a tree that no process changes meanwhile.

A scrub reads while clients push and delete and a collection runs. So what it found may be half of a
change, such as a new folder without its file. It looks again under the exclusive tree lock, and
reports only what it finds then. That look must be brief, because pushes wait for the lock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from storage.drivers.base import Driver, View
from storage.errors import OperationDisabled

T = TypeVar("T")


async def undisturbed(driver: Driver, look: Callable[[View], T]) -> T:
    """Return what `look` finds while no process publishes or removes anything.

    Where the lock can't be had, it looks without: on a volume that can't be written, and after the
    wait for the lock timed out.
    """
    try:
        return await driver.exclusively(look)
    except (OperationDisabled, OSError):
        return await driver.batch(look)
