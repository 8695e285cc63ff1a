"""A driver that only reads: what stands behind a registry that must not change its volume."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from storage.drivers.base import SMALL, Driver, FileInfo, OpenFile, StagedFile, Staging, View
from storage.errors import OperationDisabled

T = TypeVar("T")


class ReadOnlyDriver:
    """`inner`, with everything that changes something refused by `OperationDisabled`."""

    def __init__(self, inner: Driver) -> None:
        self._inner = inner
        self.staging: Staging = _ReadOnlyStaging(inner.staging)

    async def read(self, path: str, limit: int = SMALL) -> bytes:
        """Read."""
        return await self._inner.read(path, limit)

    async def stat(self, path: str) -> FileInfo | None:
        """Look."""
        return await self._inner.stat(path)

    async def exists(self, path: str) -> bool:
        """Look."""
        return await self._inner.exists(path)

    async def open(self, path: str) -> OpenFile:
        """Open for reading."""
        return await self._inner.open(path)

    async def write(self, path: str, content: bytes) -> None:
        """Refuse."""
        raise OperationDisabled("writing")

    async def note(self, path: str, content: bytes) -> None:
        """Refuse."""
        raise OperationDisabled("writing")

    async def appear(self, path: str, files: Mapping[str, bytes]) -> bool:
        """Refuse."""
        raise OperationDisabled("writing")

    async def delete(self, path: str) -> bool:
        """Refuse."""
        raise OperationDisabled("writing")

    def lock(self, path: str) -> AbstractAsyncContextManager[None]:
        """Refuse: a lock makes the folder it is for."""
        raise OperationDisabled("writing")

    async def batch(self, job: Callable[[View], T]) -> T:
        """Read."""
        return await self._inner.batch(job)

    async def close(self) -> None:
        """Close."""
        await self._inner.close()


class _ReadOnlyStaging:
    def __init__(self, inner: Staging) -> None:
        self._inner = inner

    async def create(self, path: str) -> None:
        raise OperationDisabled("writing")

    async def length(self, path: str) -> int:
        return await self._inner.length(path)

    def open(self, path: str) -> AbstractAsyncContextManager[StagedFile]:
        raise OperationDisabled("writing")

    async def discard(self, path: str) -> None:
        raise OperationDisabled("writing")
