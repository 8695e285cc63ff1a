"""Bases for wrappers of a driver: each passes every call on, and subclasses override some."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from storage.drivers.base import (
    SMALL,
    Driver,
    Entry,
    ExclusiveEditor,
    FileInfo,
    FileSnapshot,
    FolderLock,
    LinkTarget,
    OpenFile,
    Reader,
    StagedFile,
    Staging,
    TouchingReader,
)
from storage.drivers.changes import Step
from storage.values.buffers import Buffer

T = TypeVar("T")


class WrappedDriver:
    """Passes every call on to `inner`."""

    def __init__(self, inner: Driver) -> None:
        self._inner = inner
        self.staging: Staging = inner.staging

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
        await self._inner.write(path, content)

    async def write_unsynced(self, path: str, content: bytes) -> None:
        await self._inner.write_unsynced(path, content)

    async def publish(
        self, *steps: Step, check: Callable[[TouchingReader], None] | None = None
    ) -> tuple[str, ...]:
        return await self._inner.publish(*steps, check=check)

    async def delete(self, path: str, check: Callable[[Reader], None] | None = None) -> bool:
        return await self._inner.delete(path, check)

    async def sync_removals(self, path: str) -> None:
        await self._inner.sync_removals(path)

    async def touch(self, path: str) -> FileInfo | None:
        return await self._inner.touch(path)

    async def exclusively(self, job: Callable[[ExclusiveEditor], T]) -> T:
        return await self._inner.exclusively(job)

    def claim(self, what: str) -> AbstractAsyncContextManager[None]:
        return self._inner.claim(what)

    def lock(self, path: str) -> AbstractAsyncContextManager[FolderLock]:
        return self._inner.lock(path)

    async def batch(self, job: Callable[[Reader], T]) -> T:
        return await self._inner.batch(job)

    async def close(self) -> None:
        await self._inner.close()


class WrappedReader:
    """Passes every read on to `inner`, after a call of `_before_read`."""

    def __init__(self, inner: Reader) -> None:
        self._inner = inner

    def _before_read(self) -> None:
        """Called before each read; what it raises is raised to the reader's caller."""

    def names(self, path: str) -> list[str]:
        self._before_read()
        return self._inner.names(path)

    def folders(self, path: str) -> list[str]:
        self._before_read()
        return self._inner.folders(path)

    def entries(self, path: str) -> Iterator[Entry]:
        self._before_read()
        return self._inner.entries(path)

    def entry(self, path: str) -> Entry | None:
        self._before_read()
        return self._inner.entry(path)

    def read(self, path: str, limit: int = SMALL) -> bytes:
        self._before_read()
        return self._inner.read(path, limit)

    def stat(self, path: str) -> FileInfo | None:
        self._before_read()
        return self._inner.stat(path)

    def modified(self, path: str) -> int | None:
        self._before_read()
        return self._inner.modified(path)

    def link_target(self, path: str) -> LinkTarget:
        self._before_read()
        return self._inner.link_target(path)


class WrappedEditor(WrappedReader):
    """Passes every read, removal and move on to `editor`."""

    def __init__(self, editor: ExclusiveEditor) -> None:
        super().__init__(editor)
        self._editor = editor

    def remove(self, path: str) -> bool:
        return self._editor.remove(path)

    def remove_empty(self, path: str) -> bool:
        return self._editor.remove_empty(path)

    def move(self, path: str, target: str) -> bool:
        return self._editor.move(path, target)


class WrappedStaging:
    """Passes every call on to `inner`."""

    def __init__(self, inner: Staging) -> None:
        self._inner = inner

    async def create(self, path: str, files: Mapping[str, bytes]) -> None:
        await self._inner.create(path, files)

    async def length(self, path: str) -> int:
        return await self._inner.length(path)

    async def is_locked(self, path: str) -> bool:
        return await self._inner.is_locked(path)

    def open(self, path: str) -> AbstractAsyncContextManager[StagedFile]:
        return self._inner.open(path)

    async def discard(self, path: str) -> None:
        await self._inner.discard(path)


class WrappedStagedFile:
    """Passes every call on to `inner`."""

    def __init__(self, inner: StagedFile) -> None:
        self._inner = inner

    @property
    def length(self) -> int:
        return self._inner.length

    async def append(self, data: Buffer, observe: Callable[[Buffer], None]) -> None:
        await self._inner.append(data, observe)

    async def truncate(self, length: int) -> None:
        await self._inner.truncate(length)

    async def sync(self) -> None:
        await self._inner.sync()

    async def replay(self, start: int, observe: Callable[[bytearray], None]) -> None:
        await self._inner.replay(start, observe)

    async def adopt(self, target: str, *then: Step) -> None:
        await self._inner.adopt(target, *then)
