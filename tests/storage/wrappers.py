"""Drivers around a driver: each call goes through, and a subclass looks at it or stops it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from storage.drivers.base import SMALL, Driver, FileInfo, OpenFile, StagedFile, Staging, View

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Change:
    """A call that changes what is stored: its method, its path, what it brings along.

    `content` is the bytes that are written, or the path of what is adopted.
    """

    kind: str
    path: str
    content: bytes | str = b""


class WrappedDriver:
    """The same driver; `change` is where a subclass comes in between."""

    def __init__(self, inner: Driver) -> None:
        self.inner = inner
        self.staging: Staging = _WrappedStaging(self, inner.staging)

    async def change(self, change: Change, carry_out: Callable[[], Awaitable[T]]) -> T:
        """Carry out a change."""
        return await carry_out()

    def streamed(self, path: str, data: bytearray) -> None:
        """Hear of bytes that are read back from a staged file."""

    async def read(self, path: str, limit: int = SMALL) -> bytes:
        """Pass on."""
        return await self.inner.read(path, limit)

    async def stat(self, path: str) -> FileInfo | None:
        """Pass on."""
        return await self.inner.stat(path)

    async def exists(self, path: str) -> bool:
        """Pass on."""
        return await self.inner.exists(path)

    async def open(self, path: str) -> OpenFile:
        """Pass on."""
        return await self.inner.open(path)

    async def write(self, path: str, content: bytes) -> None:
        """Change."""
        await self.change(Change("write", path, content), lambda: self.inner.write(path, content))

    async def note(self, path: str, content: bytes) -> None:
        """Change."""
        await self.change(Change("note", path, content), lambda: self.inner.note(path, content))

    async def appear(self, path: str, files: Mapping[str, bytes]) -> bool:
        """Change."""
        change = Change("appear", path, b"".join(files.values()))
        return await self.change(change, lambda: self.inner.appear(path, files))

    async def delete(self, path: str) -> bool:
        """Change."""
        return await self.change(Change("delete", path), lambda: self.inner.delete(path))

    def lock(self, path: str) -> AbstractAsyncContextManager[None]:
        """Pass on."""
        return self.inner.lock(path)

    async def batch(self, job: Callable[[View], T]) -> T:
        """Pass on."""
        return await self.inner.batch(job)

    async def close(self) -> None:
        """Pass on."""
        await self.inner.close()


class _WrappedStaging:
    def __init__(self, driver: WrappedDriver, inner: Staging) -> None:
        self._driver = driver
        self._inner = inner

    async def create(self, path: str) -> None:
        await self._driver.change(Change("create", path), lambda: self._inner.create(path))

    async def length(self, path: str) -> int:
        return await self._inner.length(path)

    @asynccontextmanager
    async def open(self, path: str) -> AsyncIterator[StagedFile]:
        async with self._inner.open(path) as staged:
            yield _WrappedStaged(self._driver, path, staged)

    async def discard(self, path: str) -> None:
        await self._driver.change(Change("discard", path), lambda: self._inner.discard(path))


class _WrappedStaged:
    def __init__(self, driver: WrappedDriver, path: str, inner: StagedFile) -> None:
        self._driver = driver
        self._path = path
        self._inner = inner

    @property
    def length(self) -> int:
        return self._inner.length

    async def append(self, data: bytearray, observe: Callable[[bytearray], None]) -> None:
        change = Change("append", self._path, bytes(data))
        await self._driver.change(change, lambda: self._inner.append(data, observe))

    async def truncate(self, length: int) -> None:
        change = Change("truncate", self._path, str(length))
        await self._driver.change(change, lambda: self._inner.truncate(length))

    async def sync(self) -> None:
        await self._driver.change(Change("sync", self._path), self._inner.sync)

    async def stream(self, start: int) -> AsyncIterator[bytearray]:
        async for data in self._inner.stream(start):
            self._driver.streamed(self._path, data)
            yield data

    async def adopt(self, target: str) -> None:
        change = Change("adopt", target, self._path)
        await self._driver.change(change, lambda: self._inner.adopt(target))


class RecordingDriver(WrappedDriver):
    """Writes down every change, and counts the bytes that are read back from staged files."""

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self.changes: list[Change] = []
        self.read_back = 0

    async def change(self, change: Change, carry_out: Callable[[], Awaitable[T]]) -> T:
        """Carry out a change and write it down."""
        done = await carry_out()
        self.changes.append(change)
        return done

    def streamed(self, path: str, data: bytearray) -> None:
        """Count the bytes."""
        self.read_back += len(data)

    def durable(self) -> list[tuple[str, str]]:
        """Return the changes that a reader of the registry can see, in order."""
        kinds = {"write", "appear", "adopt", "delete"}
        return [(one.kind, one.path) for one in self.changes if one.kind in kinds]


class Crash(Exception):
    """The process ended here."""


class CrashingDriver(WrappedDriver):
    """Ends the process in place of one change, and stays dead.

    `at` is that change's number, counted from 0, or its kind. `tear` is called first, to leave
    what a change that was cut off would leave.
    """

    def __init__(
        self, inner: Driver, at: int | str, tear: Callable[[Change], None] = lambda _: None
    ) -> None:
        super().__init__(inner)
        self._at = at
        self._number = 0
        self._tear = tear
        self.crashed_at: Change | None = None

    async def change(self, change: Change, carry_out: Callable[[], Awaitable[T]]) -> T:
        """Carry out a change while the process lives."""
        if self.crashed_at is not None:
            raise Crash
        if self._at in (self._number, change.kind):
            self.crashed_at = change
            await asyncio.to_thread(self._tear, change)
            raise Crash
        self._number += 1
        return await carry_out()
