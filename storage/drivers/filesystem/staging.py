"""Unfinished uploads as files, each under an exclusive flock while it is open."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import stat
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

from storage.concurrency.cancellation import or_undone, to_completion
from storage.concurrency.threads import Threads
from storage.drivers.base import CHUNK, StagingBusy
from storage.drivers.changes import Step
from storage.drivers.filesystem import durable, writeback
from storage.drivers.filesystem.in_order import InOrder
from storage.drivers.filesystem.posix import discard, discard_folder, sync_or_empty, write_all
from storage.drivers.filesystem.prepared import Prepared, StagedRename, prepare
from storage.errors import PathNotFound
from storage.values.buffers import Buffer

T = TypeVar("T")

# A client that lost its connection reconnects before the server has noticed. So the new request
# waits for the old one to release the lock: this number of attempts, this many seconds apart.
_ATTEMPTS = 50
_PAUSE = 0.1
# Dirty bytes after which the kernel is asked to start writing.
_WRITE_BEHIND = 8 << 20
# Returned in place of a descriptor.
_BUSY = -1


class LockedUpload:
    """A staged file, open and locked. A step that has begun is completed even when cancelled."""

    def __init__(
        self,
        fd: int,
        path: str,
        root: str,
        disk: durable.Disk,
        threads: Threads,
        *,
        sync: bool,
    ) -> None:
        self._fd = fd
        self._path = path
        self._root = root
        self._disk = disk
        self._run = threads.run
        self._run_locking = threads.run_locking
        self._appends = InOrder(threads.run)
        self._sync = sync
        self.length = self._synced = os.fstat(fd).st_size
        self._writeback_end = self.length  # up to here the kernel was asked to write

    async def append(self, data: Buffer, observe: Callable[[Buffer], None]) -> None:
        """Write and observe in one hop to a thread, because two would slow down uploads."""
        await to_completion(self._appends.put(partial(self._append, data, observe)))

    def _append(self, data: Buffer, observe: Callable[[Buffer], None]) -> None:
        try:
            write_all(self._fd, data, self.length)
            observe(data)
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self.length)
            raise
        self.length += len(data)
        self._write_behind()

    def _write_behind(self) -> None:
        """Ask the kernel to start writing what was appended, once it is enough."""
        if self._sync and self.length - self._writeback_end >= _WRITE_BEHIND:
            writeback.start(self._fd, self._writeback_end, self.length - self._writeback_end)
            self._writeback_end = self.length

    async def truncate(self, length: int) -> None:
        await to_completion(self._run(os.ftruncate, self._fd, length))
        self.length = length

    async def sync(self) -> None:
        if self._sync:
            try:
                await to_completion(self._run(sync_or_empty, self._fd))
            except OSError:
                self.length = 0
                raise
        self._synced = self.length

    async def replay(self, start: int, observe: Callable[[bytearray], None]) -> None:
        while start < self.length:
            read = await to_completion(self._run(self._replay, start, observe))
            if not read:
                return
            start += read

    def _replay(self, start: int, observe: Callable[[bytearray], None]) -> int:
        data = bytearray(os.pread(self._fd, min(CHUNK, self.length - start), start))
        observe(data)
        return len(data)

    async def adopt(self, target: str, *then: Step) -> None:
        """Publish and close the file in one hop."""
        await to_completion(self._run_locking(self._adopt, f"{self._root}/{target}", then))

    def _adopt(self, target: str, then: Sequence[Step]) -> None:
        data = StagedRename(target, self._path)
        try:
            # Not under the shared tree lock: this fsync may take long, and would block removals.
            if self._sync:
                sync_or_empty(self._fd)
            # The mtime is set to now: the bytes may have been received days ago.
            steps: list[list[Prepared]] = [[data], *prepare(self._root, then)]
            self._disk.publish(steps, check=partial(os.utime, self._fd))
        except OSError:
            self.length = os.fstat(self._fd).st_size
            raise
        self._close()
        discard_folder(os.path.dirname(self._path))

    async def close(self) -> None:
        """Close the file, on the event loop only where that is quick: few dirty bytes, no freeing.

        The last close of a file without a name frees its blocks.
        """
        if self._fd < 0:
            return
        self._appends.forget()
        if self.length - self._synced <= CHUNK and self._has_a_name():
            self._close()
        else:
            await to_completion(self._run(self._close))

    def _has_a_name(self) -> bool:
        try:
            return bool(os.fstat(self._fd).st_nlink)
        except OSError:
            return False

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        os.close(fd)


class FileStaging:
    """The unfinished uploads of a filesystem driver."""

    def __init__(self, root: str, disk: durable.Disk, threads: Threads, *, sync: bool) -> None:
        self._root = root
        self._disk = disk
        self._threads = threads
        self._run = threads.run
        self._sync = sync

    async def create(self, path: str, files: Mapping[str, bytes]) -> None:
        paths = {f"{self._root}/{file}": content for file, content in files.items()}
        await self._run(self._disk.create_unsynced, f"{self._root}/{path}", paths)

    async def length(self, path: str) -> int:
        try:
            stat_result = os.stat(f"{self._root}/{path}")
        except (FileNotFoundError, NotADirectoryError):
            raise PathNotFound(path) from None
        if not stat.S_ISREG(stat_result.st_mode):
            raise PathNotFound(path)
        return stat_result.st_size

    async def is_locked(self, path: str) -> bool:
        """Try to lock the file, and release the lock immediately."""
        fd = await or_undone(self._run(_try_lock, f"{self._root}/{path}"), _release)
        _release(fd)
        return fd == _BUSY

    @asynccontextmanager
    async def open(self, path: str) -> AsyncIterator[LockedUpload]:
        """Lock and open the file, waiting a few seconds for another holder of the lock."""
        fd = await self._lock(path)
        try:
            file = LockedUpload(
                fd,
                f"{self._root}/{path}",
                self._root,
                self._disk,
                self._threads,
                sync=self._sync,
            )
        except BaseException:
            os.close(fd)
            raise
        try:
            yield file
        finally:
            await file.close()

    async def discard(self, path: str) -> None:
        await self._run(discard, f"{self._root}/{path}")

    async def _lock(self, path: str) -> int:
        for _ in range(_ATTEMPTS):
            # If the request is cancelled meanwhile, the lock is released again.
            fd = await or_undone(self._run(_try_lock, f"{self._root}/{path}"), _release)
            if fd is None:
                raise PathNotFound(path)
            if fd >= 0:
                return fd
            await asyncio.sleep(_PAUSE)
        raise StagingBusy


def _try_lock(path: str) -> int | None:
    """Return a locked descriptor, `_BUSY`, or None when the file is missing."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The previous holder of the lock may have adopted or discarded the file.
        if os.fstat(fd).st_nlink and os.path.samestat(os.fstat(fd), os.stat(path)):
            return fd
    except BlockingIOError:
        os.close(fd)
        return _BUSY
    except FileNotFoundError:
        pass
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


def _release(fd: int | None) -> None:
    if fd is not None and fd != _BUSY:
        os.close(fd)
