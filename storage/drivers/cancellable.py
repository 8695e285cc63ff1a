"""Reads that can be cancelled: they end a job whose result is no longer needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from storage.drivers.base import Driver, Entry, Reader
from storage.drivers.wrapping import WrappedReader

T = TypeVar("T")


class CancellableReads:
    """Runs jobs with a `CancellableReader`."""

    def __init__(self, inner: Driver, check: Callable[[], None]) -> None:
        self._inner = inner
        self._check = check

    async def batch(self, job: Callable[[Reader], T]) -> T:
        return await self._inner.batch(lambda reader: job(CancellableReader(reader, self._check)))


class CancellableReader(WrappedReader):
    """Reads of `inner` that call `check` first, which raises to end the job.

    So the code of a walk needs no cancellation checks of its own.
    """

    def __init__(self, inner: Reader, check: Callable[[], None]) -> None:
        super().__init__(inner)
        self._check = check

    def _before_read(self) -> None:
        self._check()

    def entries(self, path: str) -> Iterator[Entry]:
        for entry in super().entries(path):
            self._check()
            yield entry
