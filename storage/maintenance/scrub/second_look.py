"""The look that a finding needs: at a tree that no process changes meanwhile.

A scrub reads while others push, delete and collect, so what it found may be half of a change: a
folder that was there already, without the file that was not. It looks again while it holds the tree
alone, and tells of nothing that is not so then. That must be brief, since pushes wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from storage.drivers.base import Driver, View
from storage.errors import OperationDisabled

T = TypeVar("T")


async def undisturbed(driver: Driver, look: Callable[[View], T]) -> T:
    """Return what `look` finds while no process publishes or removes anything.

    On a volume that can't be written there is no lock to be had, and where others hold the tree for
    too long there is none either. Then it just looks.
    """
    try:
        return await driver.exclusively(look)
    except (OperationDisabled, OSError):
        return await driver.batch(look)
