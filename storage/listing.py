"""Pages of sorted names: what a listing returns and how one is cut."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

T = TypeVar("T")


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
