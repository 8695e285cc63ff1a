"""Drivers that refuse changes, for a registry or a command that must not change its volume."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

from storage.drivers.base import (
    SMALL,
    Driver,
    ExclusiveEditor,
    FileInfo,
    FileSnapshot,
    FolderLock,
    OpenFile,
    Reader,
    StagedFile,
    Staging,
    TouchingReader,
)
from storage.drivers.changes import Step
from storage.errors import OperationDisabled

T = TypeVar("T")


class ReadOnlyDriver:
    """Reads from `inner`; all other methods raise `OperationDisabled`."""

    def __init__(self, inner: Driver) -> None:
        self._inner = inner
        self.staging: Staging = _ReadOnlyStaging(inner.staging)

    @property
    def has_files(self) -> bool:
        return self._inner.has_files

    async def read(self, path: str, limit: int = SMALL) -> bytes:
        return await self._inner.read(path, limit)

    def snapshot(self, path: str) -> FileSnapshot | None:
        return self._inner.snapshot(path)

    def is_unchanged(self, snapshot: FileSnapshot) -> bool:
        return self._inner.is_unchanged(snapshot)

    async def stat(self, path: str) -> FileInfo | None:
        return await self._inner.stat(path)

    async def exists(self, path: str) -> bool:
        return await self._inner.exists(path)

    async def open(self, path: str) -> OpenFile:
        return await self._inner.open(path)

    async def write(self, path: str, content: bytes) -> None:
        raise OperationDisabled("writing")

    async def write_unsynced(self, path: str, content: bytes) -> None:
        raise OperationDisabled("writing")

    async def publish(
        self, *steps: Step, check: Callable[[TouchingReader], None] | None = None
    ) -> tuple[str, ...]:
        raise OperationDisabled("writing")

    async def delete(self, path: str, check: Callable[[Reader], None] | None = None) -> bool:
        raise OperationDisabled("writing")

    async def sync_removals(self, path: str) -> None:
        raise OperationDisabled("writing")

    async def touch(self, path: str) -> FileInfo | None:
        """Return what `stat` returns: nothing is written here that relies on the mtime."""
        return await self._inner.stat(path)

    async def exclusively(self, job: Callable[[ExclusiveEditor], T]) -> T:
        raise OperationDisabled("writing")

    def claim(self, what: str) -> AbstractAsyncContextManager[None]:
        raise OperationDisabled("writing")

    def lock(self, path: str) -> AbstractAsyncContextManager[FolderLock]:
        raise OperationDisabled("writing")

    async def batch(self, job: Callable[[Reader], T]) -> T:
        return await self._inner.batch(job)

    async def close(self) -> None:
        await self._inner.close()


class InspectionDriver(ReadOnlyDriver):
    """A driver for jobs that only read a volume: a dry run, a scrub without repair.

    It takes no locks, because this process does not change the volume, and drops unsynced writes.
    """

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self.staging = _InspectionStaging(inner.staging)

    async def write_unsynced(self, path: str, content: bytes) -> None:
        """Drop the content: a power failure could remove it as well."""

    async def touch(self, path: str) -> FileInfo | None:
        """Return what `stat` would return if the mtime had been set to now."""
        info = await self._inner.stat(path)
        return None if info is None else FileInfo(info.size, time.time_ns())

    @asynccontextmanager
    async def claim(self, what: str) -> AsyncIterator[None]:
        yield


class _ReadOnlyStaging:
    def __init__(self, inner: Staging) -> None:
        self._inner = inner

    async def create(self, path: str, files: Mapping[str, bytes]) -> None:
        raise OperationDisabled("writing")

    async def length(self, path: str) -> int:
        return await self._inner.length(path)

    async def is_locked(self, path: str) -> bool:
        return await self._inner.is_locked(path)

    def open(self, path: str) -> AbstractAsyncContextManager[StagedFile]:
        raise OperationDisabled("writing")

    async def discard(self, path: str) -> None:
        raise OperationDisabled("writing")


class _InspectionStaging(_ReadOnlyStaging):
    async def discard(self, path: str) -> None:
        """Do nothing: such a job discards only unsynced files of earlier runs."""
