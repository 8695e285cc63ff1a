"""A driver that counts what its batches read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from storage import paths
from storage.drivers.base import SMALL, Driver, View
from tests.storage.wrappers import WrappedDriver, WrappedView

T = TypeVar("T")


class _Reads(WrappedView):
    """A view that counts: files opened for reading, those of them that are blobs, and bytes."""

    def __init__(self, inner: View, driver: ReadCounter) -> None:
        super().__init__(inner)
        self._driver = driver

    def read(self, path: str, limit: int = SMALL) -> bytes:
        """Count."""
        if path.startswith(paths.BLOBS):
            self._driver.blobs += 1
            self._driver.before_blob()
        content = super().read(path, limit)
        self._driver.opened += 1
        self._driver.bytes += len(content)
        return content


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
