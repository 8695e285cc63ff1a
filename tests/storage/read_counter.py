"""A driver that counts the reads of its batches."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

from storage.drivers.base import SMALL, Driver, Reader
from storage.drivers.wrapping import WrappedDriver, WrappedReader
from storage.values import paths

T = TypeVar("T")


class _Reads(WrappedReader):
    """Counts the files opened for reading, those of them that are blobs, and bytes."""

    def __init__(self, inner: Reader, driver: ReadCounter) -> None:
        super().__init__(inner)
        self._driver = driver

    def read(self, path: str, limit: int = SMALL) -> bytes:
        if path.startswith(paths.BLOBS):
            self._driver.blobs += 1
            self._driver.before_blob()
        content = super().read(path, limit)
        self._driver.opened += 1
        self._driver.bytes += len(content)
        return content


class ReadCounter(WrappedDriver):
    """A driver that counts the reads of its batches."""

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self.before_blob: Callable[[], None] = lambda: None
        self.reset()

    def reset(self) -> None:
        """Reset the counters."""
        self.opened = self.blobs = self.bytes = 0

    async def batch(self, job: Callable[[Reader], T]) -> T:
        return await self._inner.batch(lambda reader: job(_Reads(reader, self)))


class Pause:
    """Blocks the threads of a counter that are about to read a blob, until `end`."""

    def __init__(self, counter: ReadCounter) -> None:
        self._reached, self._free = threading.Event(), threading.Event()
        counter.before_blob = self._wait

    def _wait(self) -> None:
        self._reached.set()
        self._free.wait(10)

    async def reached(self) -> None:
        """Wait until a thread is blocked."""
        assert await asyncio.to_thread(self._reached.wait, 10)

    def end(self) -> None:
        """Release the threads."""
        self._free.set()
