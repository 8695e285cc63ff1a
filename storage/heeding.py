"""Reads that end a job which is no longer wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from storage.drivers.base import SMALL, Driver, Entry, FileInfo, Lead, View

T = TypeVar("T")


class HeedingReads:
    """Jobs whose reads are those of a `HeedingView`."""

    def __init__(self, inner: Driver, check: Callable[[], None]) -> None:
        self._inner = inner
        self._check = check

    async def batch(self, job: Callable[[View], T]) -> T:
        """Run `job`."""
        return await self._inner.batch(lambda view: job(HeedingView(view, self._check)))


class HeedingView:
    """`inner`; each read calls `check` first, which raises when the job is to end.

    So a walk ends early without a word about it in the walk.
    """

    def __init__(self, inner: View, check: Callable[[], None]) -> None:
        self._inner = inner
        self._check = check

    def names(self, path: str) -> list[str]:
        """Name the entries of a folder."""
        self._check()
        return self._inner.names(path)

    def folders(self, path: str) -> list[str]:
        """Name the folders in a folder."""
        self._check()
        return self._inner.folders(path)

    def entries(self, path: str) -> Iterator[Entry]:
        """Yield the entries of a folder."""
        for entry in self._inner.entries(path):
            self._check()
            yield entry

    def entry(self, path: str) -> Entry | None:
        """Return an entry."""
        self._check()
        return self._inner.entry(path)

    def read(self, path: str, limit: int = SMALL) -> bytes:
        """Read a file."""
        self._check()
        return self._inner.read(path, limit)

    def stat(self, path: str) -> FileInfo | None:
        """Look."""
        self._check()
        return self._inner.stat(path)

    def modified(self, path: str) -> int | None:
        """Tell when entries of a folder last came or went."""
        self._check()
        return self._inner.modified(path)

    def leads(self, path: str) -> Lead:
        """Tell where a path leads."""
        self._check()
        return self._inner.leads(path)
