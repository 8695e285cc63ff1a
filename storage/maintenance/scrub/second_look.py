"""The second look that a finding needs, at a tree that no process changes meanwhile.

A scrub reads while clients push and delete and a collection runs. So what it found may be half of a
change, such as a new folder without its file. It looks again under the exclusive tree lock, and
reports only what it finds then. Pushes wait for the lock, so one hold of it is brief: it has a
bounded number of looks, which read links and ask for files, and no look lists a folder of any size
or parses a manifest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from storage.drivers.base import Driver, View
from storage.errors import OperationDisabled, raise_if_exhausted

S = TypeVar("S")
T = TypeVar("T")

# Looks of one hold, and the seconds after which it has no further one.
_AT_ONCE = 256
_LONGEST = 0.005


async def undisturbed(driver: Driver, look: Callable[[View], T]) -> T:
    """Return what `look` finds while no process publishes or removes anything.

    Where the lock can't be had, it looks without: on a volume that can't be written, and after the
    wait for the lock timed out. Raises OSError for lack of descriptors or memory.
    """
    try:
        return await driver.exclusively(look)
    except OperationDisabled:
        return await driver.batch(look)
    except OSError as error:
        raise_if_exhausted(error)
        return await driver.batch(look)


async def each_undisturbed(
    driver: Driver, things: Sequence[S], look: Callable[[View, S], T]
) -> list[T]:
    """Return what `look` finds for each of `things`, as `undisturbed`, by holds of bounded length.

    Between two holds the tree may change.
    """
    found: list[T] = []
    while len(found) < len(things):
        some = things[len(found) : len(found) + _AT_ONCE]
        found += await undisturbed(driver, partial(_look_at, things=some, look=look))
    return found


def _look_at(view: View, things: Sequence[S], look: Callable[[View, S], T]) -> list[T]:
    """Look at the first of `things`, and at as many more as there is time for."""
    until = time.monotonic() + _LONGEST
    found = [look(view, things[0])]
    for thing in things[1:]:
        if time.monotonic() > until:
            break
        found.append(look(view, thing))
    return found
