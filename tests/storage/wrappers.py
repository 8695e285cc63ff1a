"""Drivers around a driver: they forward each call, and subclasses observe or refuse it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
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
from storage.drivers.changes import Appear, Put, PutUnsynced, Step
from storage.values.buffers import Buffer

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Change:
    """A call that changes what is stored.

    `kind` is the method. `content` is the bytes written, or the path that is adopted.
    """

    kind: str
    path: str
    content: bytes | str = b""


class WrappedDriver:
    """Forwards all calls; a subclass overrides `change`."""

    def __init__(self, inner: Driver) -> None:
        self.inner = inner
        self.staging: Staging = _WrappedStaging(self, inner.staging)

    @property
    def has_files(self) -> bool:
        return self.inner.has_files

    async def change(self, change: Change, carry_out: Callable[[], Awaitable[T]]) -> T:
        """Carry out a change."""
        return await carry_out()

    def streamed(self, path: str, data: bytearray) -> None:
        """Observe bytes that are read back from a staged file."""

    def removed(self, path: str) -> None:
        """Observe a removal under the exclusive lock."""

    async def read(self, path: str, limit: int = SMALL) -> bytes:
        return await self.inner.read(path, limit)

    def snapshot(self, path: str) -> FileSnapshot | None:
        return self.inner.snapshot(path)

    def is_unchanged(self, snapshot: FileSnapshot) -> bool:
        return self.inner.is_unchanged(snapshot)

    async def stat(self, path: str) -> FileInfo | None:
        return await self.inner.stat(path)

    async def exists(self, path: str) -> bool:
        return await self.inner.exists(path)

    async def open(self, path: str) -> OpenFile:
        """Pass on."""
        return await self.inner.open(path)

    async def write(self, path: str, content: bytes) -> None:
        await self.publish((Put(path, content),))

    async def write_unsynced(self, path: str, content: bytes) -> None:
        await self.change(
            Change("unsynced", path, content), lambda: self.inner.write_unsynced(path, content)
        )

    async def publish(
        self, *steps: Step, check: Callable[[TouchingReader], None] | None = None
    ) -> tuple[str, ...]:
        """Publish the changes one by one, as a driver may that can do no better."""
        if check is not None:
            await self.inner.publish(check=check)
        found = [await self._publish(one) for step in steps for one in step]
        return tuple(path for paths in found for path in paths)

    async def _publish(self, one: Put | PutUnsynced | Appear) -> tuple[str, ...]:
        if isinstance(one, Appear):
            change = Change("appear", one.path, b"".join(one.files.values()))
        else:
            change = Change("write" if isinstance(one, Put) else "unsynced", one.path, one.content)
        return await self.change(change, lambda: self.inner.publish((one,)))

    async def delete(self, path: str, check: Callable[[Reader], None] | None = None) -> bool:
        return await self.change(Change("delete", path), lambda: self.inner.delete(path, check))

    async def sync_removals(self, path: str) -> None:
        await self.inner.sync_removals(path)

    async def touch(self, path: str) -> FileInfo | None:
        return await self.inner.touch(path)

    async def exclusively(self, job: Callable[[ExclusiveEditor], T]) -> T:
        """Report all removals of the job as one change."""
        removed: list[str] = []

        def watched(editor: ExclusiveEditor) -> T:
            return job(_WrappedEditor(editor, removed))

        done = await self.change(Change("exclusive", ""), lambda: self.inner.exclusively(watched))
        for path in removed:
            self.removed(path)
        return done

    def claim(self, what: str) -> AbstractAsyncContextManager[None]:
        return self.inner.claim(what)

    def lock(self, path: str) -> AbstractAsyncContextManager[FolderLock]:
        return self.inner.lock(path)

    async def batch(self, job: Callable[[Reader], T]) -> T:
        return await self.inner.batch(job)

    async def close(self) -> None:
        await self.inner.close()


class WrappedReader:
    """A reader that calls `before` and then forwards, for each read of the tree."""

    def __init__(self, inner: Reader, before: Callable[[], object] = lambda: None) -> None:
        self.inner = inner
        self._before = before

    def names(self, path: str) -> list[str]:
        self._before()
        return self.inner.names(path)

    def folders(self, path: str) -> list[str]:
        self._before()
        return self.inner.folders(path)

    def entries(self, path: str) -> Iterator[Entry]:
        self._before()
        return self.inner.entries(path)

    def entry(self, path: str) -> Entry | None:
        self._before()
        return self.inner.entry(path)

    def read(self, path: str, limit: int = SMALL) -> bytes:
        self._before()
        return self.inner.read(path, limit)

    def stat(self, path: str) -> FileInfo | None:
        self._before()
        return self.inner.stat(path)

    def modified(self, path: str) -> int | None:
        self._before()
        return self.inner.modified(path)

    def link_target(self, path: str) -> LinkTarget:
        self._before()
        return self.inner.link_target(path)


class _WrappedEditor:
    def __init__(self, inner: ExclusiveEditor, removed: list[str]) -> None:
        self._inner = inner
        self._removed = removed
        self.names = inner.names
        self.folders = inner.folders
        self.entries = inner.entries
        self.entry = inner.entry
        self.stat = inner.stat
        self.modified = inner.modified
        self.link_target = inner.link_target
        self.remove_empty = inner.remove_empty
        self.move = inner.move

    def read(self, path: str, limit: int = SMALL) -> bytes:
        return self._inner.read(path, limit)

    def remove(self, path: str) -> bool:
        was_there = self._inner.remove(path)
        if was_there:
            self._removed.append(path)
        return was_there


class _WrappedStaging:
    def __init__(self, driver: WrappedDriver, inner: Staging) -> None:
        self._driver = driver
        self._inner = inner

    async def create(self, path: str, files: Mapping[str, bytes]) -> None:
        """Write the files one by one, then create, as a driver may that can do no better."""
        for file, content in files.items():
            await self._driver.write_unsynced(file, content)
        await self._driver.change(Change("create", path), lambda: self._inner.create(path, {}))

    async def length(self, path: str) -> int:
        return await self._inner.length(path)

    async def is_locked(self, path: str) -> bool:
        return await self._inner.is_locked(path)

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

    async def append(self, data: Buffer, observe: Callable[[Buffer], None]) -> None:
        change = Change("append", self._path, bytes(data))
        await self._driver.change(change, lambda: self._inner.append(data, observe))

    async def truncate(self, length: int) -> None:
        change = Change("truncate", self._path, str(length))
        await self._driver.change(change, lambda: self._inner.truncate(length))

    async def sync(self) -> None:
        await self._driver.change(Change("sync", self._path), self._inner.sync)

    async def replay(self, start: int, observe: Callable[[bytearray], None]) -> None:
        def seen(data: bytearray) -> None:
            self._driver.streamed(self._path, data)
            observe(data)

        await self._inner.replay(start, seen)

    async def adopt(self, target: str, *then: Step) -> None:
        change = Change("adopt", target, self._path)
        await self._driver.change(change, lambda: self._inner.adopt(target))
        await self._driver.publish(*then)


class RecordingDriver(WrappedDriver):
    """Records every change, and counts the bytes read back from staged files."""

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self.changes: list[Change] = []
        self.read_back = 0

    async def change(self, change: Change, carry_out: Callable[[], Awaitable[T]]) -> T:
        done = await carry_out()
        if change.kind != "exclusive":
            self.changes.append(change)
        return done

    def removed(self, path: str) -> None:
        self.changes.append(Change("delete", path))

    def streamed(self, path: str, data: bytearray) -> None:
        self.read_back += len(data)

    def durable(self) -> list[tuple[str, str]]:
        """Return the changes that readers of the registry can see, in order."""
        kinds = {"write", "appear", "adopt", "delete"}
        return [(one.kind, one.path) for one in self.changes if one.kind in kinds]


class Crash(Exception):
    """The process ends here."""


class CrashingDriver(WrappedDriver):
    """Crashes in place of one change, and refuses all further ones.

    `at` is that change's number, counted from 0, or its kind. `tear` is called first, to leave
    what an interrupted change would leave.
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
        if self.crashed_at is not None:
            raise Crash
        if self._at in (self._number, change.kind):
            self.crashed_at = change
            await asyncio.to_thread(self._tear, change)
            raise Crash
        self._number += 1
        return await carry_out()
