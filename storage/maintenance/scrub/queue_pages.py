"""What there is of one kind in a repository: read from the tree once, then looked at by pages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from storage.maintenance.scrub.listing import Listing
from storage.maintenance.scrub.queue import Queue

T = TypeVar("T")

# Looked at in one hop to a thread; between hops a scrub can be interrupted.
PAGE = 256


class Pages(Generic[T]):
    """What the keys of `queue` stand for, in their order; `read` tells what that is."""

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
    """What a job lists as `keys`; what is in the folder of each is looked for with it."""

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
        """Return the next page; the first call lists all there is."""
        if not self._is_listed:
            self._is_listed = True
            self._queue.clear()
            self._queue.add(self._keys(listing))
        found = self._pages.next()
        for one in found:
            self._look_inside(listing, one)
        return found
