"""Pages of sorted names: what a listing returns and how one is cut."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import Generic, TypeVar

T = TypeVar("T")

# Sorting holds the interpreter's lock: so many names take some milliseconds.
_SORTED_AT_ONCE = 20_000


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some entries in order, and whether there are more after them."""

    entries: tuple[T, ...]
    more: bool = False


def cut(entries: Iterable[T], limit: int | None) -> Page[T]:
    """Take the first `limit` entries (all when None); reads one further to know of more."""
    if limit is None:
        return Page(tuple(entries))
    taken = tuple(islice(entries, limit + 1))
    return Page(taken[:limit], more=limit > 0 and len(taken) > limit)


def behind(names: Sequence[str], after: str) -> Iterator[str]:
    """Yield the names behind `after`, in order."""
    starts = range(0, len(names), _SORTED_AT_ONCE)
    parts = [sorted(names[start : start + _SORTED_AT_ONCE]) for start in starts]
    rests = [islice(part, bisect_right(part, after), None) for part in parts]
    return rests[0] if len(rests) == 1 else merge(*rests)
