"""The files that processes lock, and the folders that stand in for them on a full disk.

A server makes the files when it starts. A disk without room for a new file is where collecting and
deleting matter most. There a process locks an existing folder, the stand-in, in place of the file.

A file and its stand-in are never locked by two processes at the same time: a process holds the
stand-in while it makes the file, and one that has locked the stand-in uses it only if the file is
still missing and can't be made.

Files are preferred because NFS passes their locks on to its server.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import suppress

from storage.drivers import modes
from storage.errors import DISK_FULL, NotOurs
from storage.paths import (
    BLOBS,
    CLOCK,
    COLLECTION,
    GATE,
    OURS,
    REPOSITORIES,
    ROOT,
    SCRUB,
    TREE,
    claim,
)

NUMBER_BYTES = 16

_PAUSE = 0.001
_MODE = modes.PRIVATE_FILE
_STAND_INS = {
    GATE: ROOT.partition("/")[0],
    TREE: ROOT.rpartition("/")[0],
    claim(COLLECTION): BLOBS,
    claim(SCRUB): REPOSITORIES,
}


class LockFiles:
    """The lock files below `root`. Everything here blocks."""

    def __init__(self, root: str) -> None:
        self._root = root

    def prepare(self) -> None:
        """Make the files that collections, scrubs and deletions need, closed to other users.

        Raises OSError, and TimeoutError while another process holds a stand-in.
        """
        for name in (*_STAND_INS, CLOCK):
            fd, is_stand_in = self._opened(name, patience=0.0)
            os.close(fd)
            if is_stand_in:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._at(name))
            modes.close_to_others(self._at(name))
        modes.close_to_others(self._at(OURS))

    def lock(self, name: str, kind: int, patience: float) -> int:
        """Return a descriptor that holds a lock; raise TimeoutError after `patience` seconds."""
        fd, is_stand_in = self._opened(name, patience)
        return fd if is_stand_in else _locked(fd, kind, self._at(name), patience)

    def _opened(self, name: str, patience: float) -> tuple[int, bool]:
        """Open a lock file, and make it if it is missing; if it can't be made, lock its stand-in.

        Returns a descriptor, and whether it is that of the stand-in.
        """
        fd = _open(self._at(name), self._root)
        if fd is not None:
            return fd, False
        folder = self._hold_stand_in(name, patience)
        if folder is None:
            return self._open_or_make(name), False
        try:
            fd = self._open_or_make(name)
        except OSError as error:
            if error.errno in DISK_FULL:
                return folder, True
            os.close(folder)
            raise
        os.close(folder)
        return fd, False

    def _hold_stand_in(self, name: str, patience: float) -> int | None:
        """Lock the stand-in of a lock file; None if it has none, or that folder is missing."""
        folder = _STAND_INS.get(name)
        if folder is None:
            return None
        try:
            fd = os.open(self._at(folder), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return _locked(fd, fcntl.LOCK_EX, self._at(name), patience)

    def _open_or_make(self, name: str) -> int:
        """Make a lock file, closed to other users, unless it exists by now; open it."""
        path = self._at(name)
        fd = _open(path, self._root)
        if fd is not None:
            return fd
        with suppress(FileExistsError):
            os.mkdir(self._at(OURS), modes.PRIVATE_FOLDER)
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        except FileExistsError:
            return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        if name == TREE:
            _write_number(fd)
        return fd

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}"


def _open(path: str, root: str) -> int | None:
    """Open a lock file; None if it is missing. Raises `NotOurs`."""
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, os.O_RDWR | flags)
    except FileNotFoundError:
        return None
    except PermissionError:
        pass
    try:
        # Another user made it. A file that can be read can be locked, and its number can be read.
        return os.open(path, os.O_RDONLY | flags)
    except PermissionError:
        raise NotOurs(path, os.geteuid(), root) from None


def _write_number(fd: int) -> None:
    """Write a number to a new file, which can be overwritten even when the disk is full later.

    A file without room for it stays, and has none: another process may have locked it by now.
    """
    try:
        os.pwrite(fd, os.urandom(NUMBER_BYTES), 0)
    except OSError as error:
        if error.errno not in DISK_FULL:
            os.close(fd)
            raise


def _locked(fd: int, kind: int, path: str, patience: float) -> int:
    """Lock a descriptor and return it; close it on failure."""
    try:
        wait_for_lock(fd, kind, path, patience)
    except BaseException:
        os.close(fd)
        raise
    return fd


def wait_for_lock(fd: int, kind: int, path: str, patience: float) -> None:
    """Lock a descriptor (blocks); raise TimeoutError after `patience` seconds."""
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise TimeoutError(f"{path} is held by another process") from None
        time.sleep(_PAUSE)
