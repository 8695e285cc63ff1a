"""A driver that only reads: what stands behind a registry that must not change its volume."""

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
    """`inner`, with everything that changes something refused by `OperationDisabled`."""

    def __init__(self, inner: Driver) -> None:
        self._inner = inner
        self.staging: Staging = _ReadOnlyStaging(inner.staging)

    @property
    def has_files(self) -> bool:
        """Pass on."""
        return self._inner.has_files

    async def read(self, path: str, limit: int = SMALL) -> bytes:
        """Read."""
        return await self._inner.read(path, limit)

    def mark(self, path: str) -> Mark | None:
        """Vouch for what was read."""
        return self._inner.mark(path)

    def holds(self, mark: Mark) -> bool:
        """Look."""
        return self._inner.holds(mark)

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

    async def publish(
        self, *steps: Step, check: Callable[[Uses], None] | None = None
    ) -> tuple[str, ...]:
        """Refuse."""
        raise OperationDisabled("writing")

    async def delete(self, path: str, check: Callable[[View], None] | None = None) -> bool:
        """Refuse."""
        raise OperationDisabled("writing")

    async def settle(self, path: str) -> None:
        """Refuse: it is for who removes."""
        raise OperationDisabled("writing")

    async def use(self, path: str) -> FileInfo | None:
        """Look: nobody writes anything here that relies on it."""
        return await self._inner.stat(path)

    async def exclusively(self, job: Callable[[Editor], T]) -> T:
        """Refuse."""
        raise OperationDisabled("writing")

    def claim(self, what: str) -> AbstractAsyncContextManager[None]:
        """Refuse: a claim makes a file."""
        raise OperationDisabled("writing")

    def lock(self, path: str) -> AbstractAsyncContextManager[Held]:
        """Refuse: it is for who writes."""
        raise OperationDisabled("writing")

    async def batch(self, job: Callable[[View], T]) -> T:
        """Read."""
        return await self._inner.batch(job)

    async def close(self) -> None:
        """Close."""
        await self._inner.close()


class InspectionDriver(ReadOnlyDriver):
    """A read-only driver for jobs that only read a volume: a dry run, a scrub without repair.

    They take no lock, because this process cannot change the volume. What they note for a later run
    is dropped.
    """

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self.staging = _InspectionStaging(inner.staging)

    async def note(self, path: str, content: bytes) -> None:
        """Drop it: a note may be lost at any time."""

    async def use(self, path: str) -> FileInfo | None:
        """Return the file as if its mtime had been refreshed."""
        found = await self._inner.stat(path)
        return None if found is None else FileInfo(found.size, time.time_ns())

    @asynccontextmanager
    async def claim(self, what: str) -> AsyncIterator[None]:
        """Claim nothing."""
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
        """Do nothing: these jobs discard only notes of earlier runs."""
