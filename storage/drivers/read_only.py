"""Drivers that refuse changes, for a registry or a command that must not change its volume."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

from storage.drivers.base import (
    SMALL,
    Driver,
    Editor,
    FileInfo,
    Held,
    Mark,
    OpenFile,
    StagedFile,
    Staging,
    Uses,
    View,
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

    def mark(self, path: str) -> Mark | None:
        return self._inner.mark(path)

    def holds(self, mark: Mark) -> bool:
        return self._inner.holds(mark)

    async def stat(self, path: str) -> FileInfo | None:
        return await self._inner.stat(path)

    async def exists(self, path: str) -> bool:
        return await self._inner.exists(path)

    async def open(self, path: str) -> OpenFile:
        return await self._inner.open(path)

    async def write(self, path: str, content: bytes) -> None:
        raise OperationDisabled("writing")

    async def note(self, path: str, content: bytes) -> None:
        raise OperationDisabled("writing")

    async def publish(
        self, *steps: Step, check: Callable[[Uses], None] | None = None
    ) -> tuple[str, ...]:
        raise OperationDisabled("writing")

    async def delete(self, path: str, check: Callable[[View], None] | None = None) -> bool:
        raise OperationDisabled("writing")

    async def settle(self, path: str) -> None:
        raise OperationDisabled("writing")

    async def use(self, path: str) -> FileInfo | None:
        """Return what `stat` returns: nothing is written here that relies on the mtime."""
        return await self._inner.stat(path)

    async def exclusively(self, job: Callable[[Editor], T]) -> T:
        raise OperationDisabled("writing")

    def claim(self, what: str) -> AbstractAsyncContextManager[None]:
        raise OperationDisabled("writing")

    def lock(self, path: str) -> AbstractAsyncContextManager[Held]:
        raise OperationDisabled("writing")

    async def batch(self, job: Callable[[View], T]) -> T:
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

    async def note(self, path: str, content: bytes) -> None:
        """Drop the content: a power failure could remove it as well."""

    async def use(self, path: str) -> FileInfo | None:
        """Return what `stat` would return if the mtime had been set to now."""
        info = await self._inner.stat(path)
        return None if info is None else FileInfo(info.size, time.time_ns())

    @asynccontextmanager
    async def claim(self, what: str) -> AsyncIterator[None]:
        yield


class _ReadOnlyStaging:
    def __init__(self, inner: Staging) -> None:
        self._inner = inner

    async def create(self, path: str, notes: Mapping[str, bytes]) -> None:
        raise OperationDisabled("writing")

    async def length(self, path: str) -> int:
        return await self._inner.length(path)

    async def is_held(self, path: str) -> bool:
        return await self._inner.is_held(path)

    def open(self, path: str) -> AbstractAsyncContextManager[StagedFile]:
        raise OperationDisabled("writing")

    async def discard(self, path: str) -> None:
        raise OperationDisabled("writing")


class _InspectionStaging(_ReadOnlyStaging):
    async def discard(self, path: str) -> None:
        """Do nothing: such a job discards only the notes of earlier runs."""
