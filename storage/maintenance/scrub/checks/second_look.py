"""The second look that confirms a finding, under the exclusive tree lock.

A scrub reads while clients push and delete and a collection runs. So a first look may see half of a
change, such as a new folder without its file. Only findings of the second look are reported. Pushes
wait for the lock, so it is held only briefly, for a bounded number of looks. A look reads links and
calls `stat`; it lists no large folder and parses no manifest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from storage.drivers.base import Driver, Reader
from storage.errors import OperationDisabled, raise_if_exhausted

S = TypeVar("S")
T = TypeVar("T")

# Looks under one lock, and the seconds after which no further look begins.
_MOST_LOOKS = 256
_LONGEST = 0.005


async def look_exclusively(driver: Driver, look: Callable[[Reader], T]) -> T:
    """Return what `look` returns under the exclusive tree lock.

    Without the lock if it is unavailable: on a volume that can't be written to, or after a timeout.
    Raises OSError if file descriptors or memory are exhausted.
    """
    try:
        return await driver.exclusively(look)
    except OperationDisabled:
        return await driver.batch(look)
    except OSError as error:
        raise_if_exhausted(error)
        return await driver.batch(look)


async def look_at_each_exclusively(
    driver: Driver, things: Sequence[S], look: Callable[[Reader, S], T]
) -> list[T]:
    """Return what `look` returns for each of `things`, as `look_exclusively` does.

    The lock is released now and then, and the tree may change meanwhile.
    """
    results: list[T] = []
    while len(results) < len(things):
        batch = things[len(results) : len(results) + _MOST_LOOKS]
        results += await look_exclusively(driver, partial(_look_at, things=batch, look=look))
    return results


def _look_at(reader: Reader, things: Sequence[S], look: Callable[[Reader, S], T]) -> list[T]:
    """Look at the first of `things`, and at others for as long as time permits."""
    until = time.monotonic() + _LONGEST
    results = [look(reader, things[0])]
    for thing in things[1:]:
        if time.monotonic() > until:
            break
        results.append(look(reader, thing))
    return results
