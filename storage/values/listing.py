"""Pages of sorted names, the results of listings."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import Generic, TypeVar

T = TypeVar("T")

# Sorting holds the GIL; so many names take a few milliseconds.
_SORTED_AT_ONCE = 20_000


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Entries in order, and whether more follow."""

    entries: tuple[T, ...]
    more: bool = False


def cut(entries: Iterable[T], limit: int | None) -> Page[T]:
    """Return the first `limit` entries, all if None; reads one more to set `more`."""
    if limit is None:
        return Page(tuple(entries))
    taken = tuple(islice(entries, limit + 1))
    return Page(taken[:limit], more=limit > 0 and len(taken) > limit)


def behind(names: Sequence[str], after: str) -> Iterator[str]:
    """Yield the names after `after`, in order."""
    starts = range(0, len(names), _SORTED_AT_ONCE)
    parts = [sorted(names[start : start + _SORTED_AT_ONCE]) for start in starts]
    rests = [islice(part, bisect_right(part, after), None) for part in parts]
    return rests[0] if len(rests) == 1 else merge(*rests)
