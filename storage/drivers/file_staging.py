"""Unfinished uploads as files, each held by one writer at a time through flock."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar

from storage.concurrency import or_undone, to_completion
from storage.drivers import durable
from storage.drivers.base import CHUNK, StagingBusy
from storage.errors import PathNotFound

T = TypeVar("T")

# A client that lost its connection comes back before the server has noticed: wait for the old
# request to let go rather than turn the new one away. So many attempts, so many seconds apart.
_PATIENCE = 50
_PAUSE = 0.1
# In place of a descriptor.
_BUSY = -1


class Run(Protocol):
    """Run something that blocks on one of the driver's threads."""

    def __call__(self, work: Callable[..., T], *args: Any, **kwargs: Any) -> Awaitable[T]:
        """Return what `work` returns."""


class HeldFile:
    """A staged file, open and locked. Every step is carried to its end, cancelled or not."""

    def __init__(
        self, fd: int, path: str, root: str, disk: durable.Disk, run: Run, *, sync: bool
    ) -> None:
        self._fd = fd
        self._path = path
        self._root = root
        self._disk = disk
        self._run = run
        self._sync = sync
        self.length = os.fstat(fd).st_size

    async def append(self, data: bytearray, observe: Callable[[bytearray], None]) -> None:
        """Write and observe in one hop; a thread hop for each is what makes uploads slow."""
        await to_completion(self._run(self._append, data, observe))

    def _append(self, data: bytearray, observe: Callable[[bytearray], None]) -> None:
        try:
            durable.write_all(self._fd, data, self.length)
            observe(data)
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self.length)
            raise
        self.length += len(data)

    async def truncate(self, length: int) -> None:
        """Forget everything after the first `length` bytes."""
        await to_completion(self._run(os.ftruncate, self._fd, length))
        self.length = length

    async def sync(self) -> None:
        """Return when what is held survives a power cut."""
        if self._sync:
            await to_completion(self._run(os.fsync, self._fd))

    async def stream(self, start: int) -> AsyncIterator[bytearray]:
        """Yield what is held from `start` to the end."""
        while start < self.length:
            size = min(CHUNK, self.length - start)
            data = await to_completion(self._run(os.pread, self._fd, size, start))
            if not data:
                return
            start += len(data)
            yield bytearray(data)

    async def adopt(self, target: str) -> None:
        """Rename what is held to `target`, durably."""
        await to_completion(
            self._run(self._disk.adopt, self._fd, self._path, f"{self._root}/{target}")
        )


class FileStaging:
    """Unfinished uploads below the root of a filesystem driver."""

    def __init__(self, root: str, disk: durable.Disk, run: Run, *, sync: bool) -> None:
        self._root = root
        self._disk = disk
        self._run = run
        self._sync = sync

    async def create(self, path: str) -> None:
        """Begin with an empty file."""
        await self._run(self._disk.create, f"{self._root}/{path}")

    async def length(self, path: str) -> int:
        """Tell how many bytes are held, inline."""
        try:
            found = os.stat(f"{self._root}/{path}")
        except (FileNotFoundError, NotADirectoryError):
            raise PathNotFound(path) from None
        if not stat.S_ISREG(found.st_mode):
            raise PathNotFound(path)
        return found.st_size

    @asynccontextmanager
    async def open(self, path: str) -> AsyncIterator[HeldFile]:
        """Hold the file exclusively, waiting a few seconds for another holder to let go."""
        fd = await self._lock(path)
        try:
            at = f"{self._root}/{path}"
            yield HeldFile(fd, at, self._root, self._disk, self._run, sync=self._sync)
        finally:
            await to_completion(self._run(os.close, fd))

    async def discard(self, path: str) -> None:
        """Remove a session's folder, or a file in it."""
        await self._run(durable.discard, f"{self._root}/{path}")

    async def _lock(self, path: str) -> int:
        for _ in range(_PATIENCE):
            # A request that is cancelled meanwhile must not keep the lock for ever.
            fd = await or_undone(self._run(_try_lock, f"{self._root}/{path}"), _let_go)
            if fd is None:
                raise PathNotFound(path)
            if fd >= 0:
                return fd
            await asyncio.sleep(_PAUSE)
        raise StagingBusy


def _try_lock(path: str) -> int | None:
    """Return a locked descriptor, `_BUSY`, or None when there is no such file."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The file may have been adopted or discarded while its holder still had the lock.
        if os.fstat(fd).st_nlink and os.path.samestat(os.fstat(fd), os.stat(path)):
            return fd
    except BlockingIOError:
        os.close(fd)
        return _BUSY
    except FileNotFoundError:
        pass
    os.close(fd)
    return None


def _let_go(fd: int | None) -> None:
    if fd is not None and fd != _BUSY:
        os.close(fd)
