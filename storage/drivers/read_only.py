"""Drivers that refuse changes, for a registry or a command that must not change its volume."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

from storage.drivers.base import (
    Driver,
    ExclusiveEditor,
    FileInfo,
    FolderLock,
    Reader,
    StagedFile,
    TouchingReader,
)
from storage.drivers.changes import Step
from storage.drivers.wrapping import WrappedDriver, WrappedStaging
from storage.errors import OperationDisabled

T = TypeVar("T")


class ReadOnlyDriver(WrappedDriver):
    """Reads from `inner`; all other methods raise `OperationDisabled`."""

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self.staging = _ReadOnlyStaging(inner.staging)

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


class _ReadOnlyStaging(WrappedStaging):
    async def create(self, path: str, files: Mapping[str, bytes]) -> None:
        raise OperationDisabled("writing")

    def open(self, path: str) -> AbstractAsyncContextManager[StagedFile]:
        raise OperationDisabled("writing")

    async def discard(self, path: str) -> None:
        raise OperationDisabled("writing")


class _InspectionStaging(_ReadOnlyStaging):
    async def discard(self, path: str) -> None:
        """Do nothing: such a job discards only unsynced files of earlier runs."""
