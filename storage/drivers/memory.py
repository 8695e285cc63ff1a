"""A driver that keeps files in a dictionary, for tests in one process.

Like an object store it has no real folders, so code that works on it does not need any.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from storage.drivers.base import (
    CHUNK,
    SMALL,
    Entry,
    ExclusiveEditor,
    FileInfo,
    FileSnapshot,
    LinkTarget,
    Reader,
    StagingBusy,
    TouchingReader,
)
from storage.drivers.changes import Appear, Change, Put, Step
from storage.errors import AlreadyRunning, PathNotFound
from storage.values.buffers import Buffer

T = TypeVar("T")

_PATIENCE = 5.0


@dataclass(slots=True)
class _File:
    content: bytes
    modified_ns: int = field(default_factory=time.time_ns)


class _MemoryEditor:
    """Implements `base.ExclusiveEditor` on the dictionary, without blocking."""

    def __init__(self, files: dict[str, _File]) -> None:
        self._files = files

    def names(self, path: str) -> list[str]:
        prefix = f"{path}/"
        below = (key[len(prefix) :] for key in self._files if key.startswith(prefix))
        return list({rest.partition("/")[0] for rest in below})

    def folders(self, path: str) -> list[str]:
        prefix = f"{path}/"
        below = (key[len(prefix) :] for key in self._files if key.startswith(prefix))
        return list({rest.partition("/")[0] for rest in below if "/" in rest})

    def entries(self, path: str) -> Iterator[Entry]:
        folders = set(self.folders(path))
        return (Entry(name, name in folders) for name in self.names(path))

    def entry(self, path: str) -> Entry | None:
        if not self.exists(path):
            return None
        return Entry(path.rpartition("/")[2], path not in self._files)

    def read(self, path: str, limit: int = SMALL) -> bytes:
        if path not in self._files:
            raise PathNotFound(path)
        return self._files[path].content[:limit]

    def exists(self, path: str) -> bool:
        prefix = f"{path}/"
        return path in self._files or any(key.startswith(prefix) for key in self._files)

    def stat(self, path: str) -> FileInfo | None:
        file = self._files.get(path)
        if file is None:
            return None
        return FileInfo(size=len(file.content), modified_ns=file.modified_ns)

    def touch(self, path: str) -> FileInfo | None:
        if path in self._files:
            self._files[path].modified_ns = time.time_ns()
        return self.stat(path)

    def remove(self, path: str) -> bool:
        below = [key for key in self._files if key == path or key.startswith(f"{path}/")]
        for key in below:
            del self._files[key]
        return bool(below)

    def move(self, path: str, target: str) -> bool:
        below = [key for key in self._files if key == path or key.startswith(f"{path}/")]
        if below:
            self.remove(target)
        for key in below:
            self._files[target + key[len(path) :]] = self._files.pop(key)
        return bool(below)

    def remove_empty(self, path: str) -> bool:
        return False  # there are no empty folders

    def modified(self, path: str) -> None:
        """Return None: there are no folders."""

    def link_target(self, path: str) -> LinkTarget:
        return LinkTarget.ITSELF  # there are no symbolic links


class _MemoryFile:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self.size = len(content)
        self.file = None

    async def stream(self, start: int, stop: int) -> AsyncIterator[bytes]:
        for at in range(start, min(stop, self.size), CHUNK):
            yield self._content[at : min(at + CHUNK, stop)]

    async def close(self) -> None:
        """Do nothing."""


class _PathLock:
    """The lock of a path, which also locks a folder that is created there later."""

    def __init__(self, reader: _MemoryEditor, path: str) -> None:
        self._reader = reader
        self._path = path

    def check(self) -> None:
        if not self._reader.exists(self._path):
            raise PathNotFound(self._path)


class _LockedUpload:
    def __init__(self, driver: MemoryDriver, path: str, data: bytearray) -> None:
        self._driver = driver
        self._path = path
        self._data = data

    @property
    def length(self) -> int:
        return len(self._data)

    async def append(self, data: Buffer, observe: Callable[[Buffer], None]) -> None:
        observe(data)
        self._data += data

    async def truncate(self, length: int) -> None:
        del self._data[length:]

    async def sync(self) -> None:
        """Do nothing: nothing here is durable."""

    async def replay(self, start: int, observe: Callable[[bytearray], None]) -> None:
        for at in range(start, len(self._data), CHUNK):
            observe(self._data[at : at + CHUNK])

    async def adopt(self, target: str, *then: Step) -> None:
        await self._driver.publish((Put(target, bytes(self._data)),), *then)
        await self._driver.staging.discard(self._path.rpartition("/")[0])


class _MemoryStaging:
    def __init__(self, driver: MemoryDriver) -> None:
        self._driver = driver
        self._staged: dict[str, bytearray] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def create(self, path: str, files: Mapping[str, bytes]) -> None:
        for file, content in files.items():
            await self._driver.write_unsynced(file, content)
        self._staged[path] = bytearray()
        self._locks[path] = asyncio.Lock()

    async def length(self, path: str) -> int:
        if path not in self._staged:
            raise PathNotFound(path)
        return len(self._staged[path])

    async def is_locked(self, path: str) -> bool:
        return path in self._locks and self._locks[path].locked()

    @asynccontextmanager
    async def open(self, path: str) -> AsyncIterator[_LockedUpload]:
        await self.length(path)
        lock = self._locks[path]
        try:
            await asyncio.wait_for(lock.acquire(), _PATIENCE)
        except TimeoutError:
            raise StagingBusy from None
        try:
            await self.length(path)
            yield _LockedUpload(self._driver, path, self._staged[path])
        finally:
            lock.release()

    async def discard(self, path: str) -> None:
        for staged in [key for key in self._staged if key == path or key.startswith(f"{path}/")]:
            del self._staged[staged], self._locks[staged]
        await self._driver.delete(path)


class MemoryDriver:
    """A driver that keeps everything in one dictionary."""

    has_files = False

    def __init__(self) -> None:
        self._files: dict[str, _File] = {}
        self._reader = _MemoryEditor(self._files)
        self._locks: dict[str, asyncio.Lock] = {}
        self._claimed: set[str] = set()
        self.staging = _MemoryStaging(self)

    async def read(self, path: str, limit: int = SMALL) -> bytes:
        return self._reader.read(path, limit)

    def snapshot(self, path: str) -> FileSnapshot | None:
        return None  # reads are cheap

    def is_unchanged(self, snapshot: FileSnapshot) -> bool:
        return False

    async def stat(self, path: str) -> FileInfo | None:
        return self._reader.stat(path)

    async def exists(self, path: str) -> bool:
        return self._reader.exists(path)

    async def open(self, path: str) -> _MemoryFile:
        if path not in self._files:
            raise PathNotFound(path)
        return _MemoryFile(self._files[path].content)

    async def write(self, path: str, content: bytes) -> None:
        self._files[path] = _File(content)

    async def write_unsynced(self, path: str, content: bytes) -> None:
        self._files[path] = _File(content)

    async def publish(
        self, *steps: Step, check: Callable[[TouchingReader], None] | None = None
    ) -> tuple[str, ...]:
        if check is not None:
            check(self._reader)
        return tuple([change.path for step in steps for change in step if not self._do(change)])

    def _do(self, change: Change) -> bool:
        """Carry out a change; return False for an `Appear` whose folder exists."""
        if not isinstance(change, Appear):
            self._files[change.path] = _File(change.content)
            return True
        if self._reader.exists(change.path):
            return False
        for name, content in change.files.items():
            self._files[f"{change.path}/{name}"] = _File(content)
        return True

    async def delete(self, path: str, check: Callable[[Reader], None] | None = None) -> bool:
        if check is not None:
            check(self._reader)
        return self._reader.remove(path)

    async def sync_removals(self, path: str) -> None:
        """Do nothing: nothing here is durable."""

    async def touch(self, path: str) -> FileInfo | None:
        return self._reader.touch(path)

    async def exclusively(self, job: Callable[[ExclusiveEditor], T]) -> T:
        return job(self._reader)

    @asynccontextmanager
    async def claim(self, what: str) -> AsyncIterator[None]:
        if what in self._claimed:
            raise AlreadyRunning(what)
        self._claimed.add(what)
        try:
            yield
        finally:
            self._claimed.discard(what)

    @asynccontextmanager
    async def lock(self, path: str) -> AsyncIterator[_PathLock]:
        lock = _PathLock(self._reader, path)
        lock.check()
        async with self._locks.setdefault(path, asyncio.Lock()):
            lock.check()  # the path may have been removed during the wait
            yield lock

    async def batch(self, job: Callable[[Reader], T]) -> T:
        return job(self._reader)

    async def close(self) -> None:
        """Do nothing."""
