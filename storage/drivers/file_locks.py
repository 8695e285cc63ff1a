"""Folders held exclusively, through flock on the folder itself: no lock files, nothing left.

A folder that is removed while it is held is another folder when it comes back, so a new holder
looks whether what it locked is still what lies at the path, and looks again before it changes
anything there.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from storage.concurrency import or_undone
from storage.drivers.file_view import absence
from storage.drivers.in_order import Run
from storage.drivers.posix import ABSENT
from storage.errors import PathNotFound

# Seconds. Holders write a few links; one that takes this long is in trouble.
_PATIENCE = 30.0
_PAUSE = 0.005


class HeldFolder:
    """A folder that is held: by its inode, whatever lies at its path."""

    def __init__(self, fd: int, path: str, folder: str) -> None:
        self._fd = fd
        self._path = path
        self._folder = folder

    def check(self) -> None:
        """Raise PathNotFound if it was removed or renamed since; blocks."""
        if not _is_at(self._fd, self._folder):
            raise PathNotFound(self._path)


class FileLocks:
    """The locks of a filesystem driver."""

    def __init__(self, run: Run) -> None:
        self._run = run

    @asynccontextmanager
    async def hold(self, path: str, folder: str) -> AsyncIterator[HeldFolder]:
        """Hold `folder`, which is `path` of the driver; raise PathNotFound when there is none."""
        try:
            fd = await self._acquire(folder)
        except OSError as error:
            raise absence(path, error) from None
        try:
            yield HeldFolder(fd, path, folder)
        finally:
            # A folder has nothing to be written back or freed.
            os.close(fd)

    async def _acquire(self, folder: str) -> int:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            # A request that is cancelled meanwhile must not keep the lock for ever.
            fd = await or_undone(self._run(_lock, folder), _let_go)
            if fd is not None:
                return fd
            await asyncio.sleep(_PAUSE)
        raise TimeoutError(f"{folder} is held by another request")


def _lock(folder: str) -> int | None:
    """Return a locked descriptor; None when somebody else has it, or it just went."""
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


def _let_go(fd: int | None) -> None:
    if fd is not None:
        os.close(fd)


def _is_at(fd: int, folder: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(folder))
    except OSError as error:
        if error.errno not in ABSENT:
            raise
        return False
