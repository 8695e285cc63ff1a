"""Exclusive locks of folders, by flock on the folder itself: there are no lock files to clean up.

A folder that is removed while it is locked, and created again, is another inode with another lock.
So the holder of a lock checks that the locked folder is still the one at its path: after locking,
and again before each change.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from storage.concurrency.cancellation import or_undone
from storage.drivers.filesystem.in_order import Run
from storage.drivers.filesystem.posix import ABSENT
from storage.drivers.filesystem.reader import absence
from storage.errors import PathNotFound

# Seconds to wait for a lock. Holders only write a few links.
_PATIENCE = 30.0
_PAUSE = 0.005


class FlockedFolder:
    """The lock of a folder's inode."""

    def __init__(self, fd: int, path: str, folder: str) -> None:
        self._fd = fd
        self._path = path
        self._folder = folder

    def check(self) -> None:
        """Raise PathNotFound if the folder was removed or renamed since; blocks."""
        if not _is_at(self._fd, self._folder):
            raise PathNotFound(self._path)


class FolderLocks:
    """The folder locks of a filesystem driver."""

    def __init__(self, run: Run) -> None:
        self._run = run

    @asynccontextmanager
    async def hold(self, path: str, folder: str) -> AsyncIterator[FlockedFolder]:
        """Lock `folder`, the driver's `path`; raise PathNotFound when it is missing."""
        try:
            fd = await self._acquire(folder)
        except OSError as error:
            raise absence(path, error) from None
        try:
            yield FlockedFolder(fd, path, folder)
        finally:
            # Quick enough for the event loop: a folder has no dirty bytes, and frees nothing.
            os.close(fd)

    async def _acquire(self, folder: str) -> int:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            # If the request is cancelled meanwhile, the lock is released again.
            fd = await or_undone(self._run(_lock, folder), _release)
            if fd is not None:
                return fd
            await asyncio.sleep(_PAUSE)
        raise TimeoutError(f"timed out waiting for the lock of {folder}: another request holds it")


def _lock(folder: str) -> int | None:
    """Return a locked descriptor; None when the folder is locked, or was just replaced."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_at(fd, folder):
            return fd
    except BlockingIOError:
        pass
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


def _release(fd: int | None) -> None:
    if fd is not None:
        os.close(fd)


def _is_at(fd: int, folder: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(folder))
    except OSError as error:
        if error.errno not in ABSENT:
            raise
        return False
