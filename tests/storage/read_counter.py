"""A driver that counts what its batches read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from storage import paths
from storage.drivers.base import SMALL, Driver, FileInfo, Lead, View
from tests.storage.wrappers import WrappedDriver

T = TypeVar("T")


class _Reads:
    """A view that counts: files opened for reading, those of them that are blobs, and bytes."""

    def __init__(self, inner: View, driver: ReadCounter) -> None:
        self._inner = inner
        self._driver = driver

    def names(self, path: str) -> list[str]:
        """Pass on."""
        return self._inner.names(path)

    def folders(self, path: str) -> list[str]:
        """Pass on."""
        return self._inner.folders(path)

    def read(self, path: str, limit: int = SMALL) -> bytes:
        """Count."""
        if path.startswith(paths.BLOBS):
            self._driver.blobs += 1
            self._driver.before_blob()
        content = self._inner.read(path, limit)
        self._driver.opened += 1
        self._driver.bytes += len(content)
        return content

    def stat(self, path: str) -> FileInfo | None:
        """Pass on."""
        return self._inner.stat(path)

    def modified(self, path: str) -> int | None:
        """Pass on."""
        return self._inner.modified(path)

    def leads(self, path: str) -> Lead:
        """Pass on."""
        return self._inner.leads(path)


class ReadCounter(WrappedDriver):
    """A driver whose batches count what they read."""

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self.before_blob: Callable[[], None] = lambda: None
        self.reset()

    def reset(self) -> None:
        """Begin to count."""
        self.opened = self.blobs = self.bytes = 0

    async def batch(self, job: Callable[[View], T]) -> T:
        """Count."""
        return await self.inner.batch(lambda view: job(_Reads(view, self)))
