"""Unfinished uploads as files, each held by one writer at a time through flock."""

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

from storage.buffers import Buffer
from storage.concurrency import or_undone, to_completion
from storage.drivers import durable, writeback
from storage.drivers.base import CHUNK, StagingBusy
from storage.drivers.changes import Step
from storage.drivers.in_order import InOrder
from storage.drivers.posix import discard, discard_folder, sync_or_empty, write_all
from storage.drivers.prepared import HeldData, Prepared, prepare
from storage.drivers.threads import Threads
from storage.errors import PathNotFound

T = TypeVar("T")

# A client that lost its connection comes back before the server has noticed: wait for the old
# request to let go rather than turn the new one away. So many attempts, so many seconds apart.
_PATIENCE = 50
_PAUSE = 0.1
# Bytes; the disk begins to write once so many wait for it.
_WRITE_BEHIND = 8 << 20
# In place of a descriptor.
_BUSY = -1


class HeldFile:
    """A staged file, open and locked. Every step is carried to its end, cancelled or not."""

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
        self._begun = self.length  # up to here the disk was told to begin

    async def append(self, data: Buffer, observe: Callable[[Buffer], None]) -> None:
        """Write and observe in one hop; a thread hop for each is what makes uploads slow."""
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
        """Have the disk begin with what was appended, if that is a good deal."""
        if self._sync and self.length - self._begun >= _WRITE_BEHIND:
            writeback.start(self._fd, self._begun, self.length - self._begun)
            self._begun = self.length

    async def truncate(self, length: int) -> None:
        """Forget everything after the first `length` bytes."""
        await to_completion(self._run(os.ftruncate, self._fd, length))
        self.length = length

    async def sync(self) -> None:
        """Return when what is held survives a power cut."""
        if self._sync:
            try:
                await to_completion(self._run(sync_or_empty, self._fd))
            except OSError:
                self.length = 0
                raise
        self._synced = self.length

    async def replay(self, start: int, observe: Callable[[bytearray], None]) -> None:
        """Read and observe, a chunk in each hop."""
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
        """Do all in one hop, and let go of the file in it."""
        await to_completion(self._run_locking(self._adopt, f"{self._root}/{target}", then))

    def _adopt(self, target: str, then: Sequence[Step]) -> None:
        data = HeldData(target, self._path)
        try:
            # Before the tree is held: it may take long, and who wants to be alone waits for that.
            if self._sync:
                sync_or_empty(self._fd)
            # What was received days ago is as young as what was received just now.
            steps: list[list[Prepared]] = [[data], *prepare(self._root, then)]
            self._disk.publish(steps, check=partial(os.utime, self._fd))
        except OSError:
            self.length = os.fstat(self._fd).st_size
            raise
        self._close()
        discard_folder(os.path.dirname(self._path))

    async def close(self) -> None:
        """Let go; inline where that writes back little and frees nothing."""
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
    """Unfinished uploads below the root of a filesystem driver."""

    def __init__(self, root: str, disk: durable.Disk, threads: Threads, *, sync: bool) -> None:
        self._root = root
        self._disk = disk
        self._threads = threads
        self._run = threads.run
        self._sync = sync

    async def create(self, path: str, notes: Mapping[str, bytes]) -> None:
        """Begin with an empty file."""
        below = {f"{self._root}/{note}": content for note, content in notes.items()}
        await self._run(self._disk.begin, f"{self._root}/{path}", below)

    async def length(self, path: str) -> int:
        """Tell how many bytes are held, inline."""
        try:
            found = os.stat(f"{self._root}/{path}")
        except (FileNotFoundError, NotADirectoryError):
            raise PathNotFound(path) from None
        if not stat.S_ISREG(found.st_mode):
            raise PathNotFound(path)
        return found.st_size

    async def is_held(self, path: str) -> bool:
        """Try to lock the file, and let go of it at once."""
        fd = await or_undone(self._run(_try_lock, f"{self._root}/{path}"), _let_go)
        _let_go(fd)
        return fd == _BUSY

    @asynccontextmanager
    async def open(self, path: str) -> AsyncIterator[HeldFile]:
        """Hold the file exclusively, waiting a few seconds for another holder to let go."""
        fd = await self._lock(path)
        at = f"{self._root}/{path}"
        try:
            held = HeldFile(
                fd,
                at,
                self._root,
                self._disk,
                self._threads,
                sync=self._sync,
            )
        except BaseException:
            os.close(fd)
            raise
        try:
            yield held
        finally:
            await held.close()

    async def discard(self, path: str) -> None:
        """Remove a session's folder, or a file in it."""
        await self._run(discard, f"{self._root}/{path}")

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
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


def _let_go(fd: int | None) -> None:
    if fd is not None and fd != _BUSY:
        os.close(fd)
