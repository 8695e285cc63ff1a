"""The entries of one kind in a repository: listed once, then checked page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from storage.maintenance.scrub.reading.folder_listing import Listing
from storage.maintenance.scrub.stages.key_queue import Queue

T = TypeVar("T")

# Entries checked in one hop to a thread. A scrub can be interrupted between two hops.
PAGE = 256


class Pages(Generic[T]):
    """Pages of what `read` makes of the keys of `queue`, in the order of the keys."""

    def __init__(self, queue: Queue, read: Callable[[bytes], T]) -> None:
        self.is_over = False
        self._queue = queue
        self._read = read
        self._after = b""

    def next(self) -> list[T]:
        """Return the next page; an empty one is the last."""
        keys = self._queue.after(self._after, PAGE)
        self.is_over = len(keys) < PAGE
        self._after = keys[-1] if keys else self._after
        return [self._read(key) for key in keys]


class Part(Generic[T]):
    """Pages of the entries that `keys` lists; `look_inside` is called for each entry."""

    def __init__(
        self,
        queue: Queue,
        read: Callable[[bytes], T],
        keys: Callable[[Listing], Iterable[bytes]],
        look_inside: Callable[[Listing, T], object] = lambda *_: None,
    ) -> None:
        self._queue = queue
        self._keys = keys
        self._look_inside = look_inside
        self._pages = Pages(queue, read)
        self._is_listed = False

    @property
    def is_over(self) -> bool:
        """Whether there are no more pages."""
        return self._pages.is_over

    def next(self, listing: Listing) -> list[T]:
        """Return the next page; the first call lists all entries."""
        if not self._is_listed:
            self._is_listed = True
            self._queue.clear()
            self._queue.add(self._keys(listing))
        page = self._pages.next()
        for entry in page:
            self._look_inside(listing, entry)
        return page
