"""Reads that can be cancelled: they end a job whose result is no longer needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from storage.drivers.base import SMALL, Driver, Entry, FileInfo, LinkTarget, Reader

T = TypeVar("T")


class CancellableReads:
    """Runs jobs with a `CancellableReader`."""

    def __init__(self, inner: Driver, check: Callable[[], None]) -> None:
        self._inner = inner
        self._check = check

    async def batch(self, job: Callable[[Reader], T]) -> T:
        return await self._inner.batch(lambda reader: job(CancellableReader(reader, self._check)))


class CancellableReader:
    """Reads of `inner` that call `check` first, which raises to end the job.

    So the code of a walk needs no cancellation checks of its own.
    """

    def __init__(self, inner: Reader, check: Callable[[], None]) -> None:
        self._inner = inner
        self._check = check

    def names(self, path: str) -> list[str]:
        self._check()
        return self._inner.names(path)

    def folders(self, path: str) -> list[str]:
        self._check()
        return self._inner.folders(path)

    def entries(self, path: str) -> Iterator[Entry]:
        for entry in self._inner.entries(path):
            self._check()
            yield entry

    def entry(self, path: str) -> Entry | None:
        self._check()
        return self._inner.entry(path)

    def read(self, path: str, limit: int = SMALL) -> bytes:
        self._check()
        return self._inner.read(path, limit)

    def stat(self, path: str) -> FileInfo | None:
        self._check()
        return self._inner.stat(path)

    def modified(self, path: str) -> int | None:
        self._check()
        return self._inner.modified(path)

    def link_target(self, path: str) -> LinkTarget:
        self._check()
        return self._inner.link_target(path)
