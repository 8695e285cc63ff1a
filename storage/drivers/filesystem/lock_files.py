"""The files that processes lock, and the folders that stand in for them on a full disk.

A server creates the files when it starts. A full disk has no room for a new file, but needs
collections and deletions most. There a process locks an existing folder, the stand-in, instead.

A file and its stand-in are never locked by two processes at the same time. A process locks the
stand-in while it creates the file. One that has locked the stand-in uses that lock only if the file
is still missing and cannot be created.

Files are preferred because NFS clients forward their locks to the server.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import suppress

from storage.drivers.filesystem import file_modes
from storage.errors import DISK_FULL, WrongOwner
from storage.values.paths import (
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
_MODE = file_modes.PRIVATE_FILE
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
        """Create the files that collections, scrubs and deletions need, closed to other users.

        Raises OSError, and TimeoutError while another process has locked a stand-in.
        """
        for name in (*_STAND_INS, CLOCK):
            fd, is_stand_in = self._opened(name, patience=0.0)
            os.close(fd)
            if is_stand_in:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._absolute(name))
            file_modes.close_to_others(self._absolute(name))
        file_modes.close_to_others(self._absolute(OURS))

    def lock(self, name: str, kind: int, patience: float) -> int:
        """Take a lock, return its descriptor; raise TimeoutError after `patience` seconds."""
        fd, is_stand_in = self._opened(name, patience)
        return fd if is_stand_in else _locked(fd, kind, self._absolute(name), patience)

    def _opened(self, name: str, patience: float) -> tuple[int, bool]:
        """Open or create a lock file; if it cannot be created, lock its stand-in.

        Returns a descriptor, and whether it is that of the stand-in.
        """
        fd = _open(self._absolute(name), self._root)
        if fd is not None:
            return fd, False
        folder = self._lock_stand_in(name, patience)
        if folder is None:
            return self._open_or_create(name), False
        try:
            fd = self._open_or_create(name)
        except OSError as error:
            if error.errno in DISK_FULL:
                return folder, True
            os.close(folder)
            raise
        os.close(folder)
        return fd, False

    def _lock_stand_in(self, name: str, patience: float) -> int | None:
        """Lock the stand-in of a lock file; return None if it has none or that is missing."""
        folder = _STAND_INS.get(name)
        if folder is None:
            return None
        try:
            fd = os.open(self._absolute(folder), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return _locked(fd, fcntl.LOCK_EX, self._absolute(name), patience)

    def _open_or_create(self, name: str) -> int:
        """Open a lock file; if it is missing, create it, closed to other users."""
        path = self._absolute(name)
        fd = _open(path, self._root)
        if fd is not None:
            return fd
        with suppress(FileExistsError):
            os.mkdir(self._absolute(OURS), file_modes.PRIVATE_FOLDER)
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        except FileExistsError:
            return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        if name == TREE:
            _write_number(fd)
        return fd

    def _absolute(self, name: str) -> str:
        return f"{self._root}/{name}"


def _open(path: str, root: str) -> int | None:
    """Open a lock file; return None if it is missing. Raises `WrongOwner`."""
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, os.O_RDWR | flags)
    except FileNotFoundError:
        return None
    except PermissionError:
        pass
    try:
        # It is another user's. To lock it, and to read its number, read permission is enough.
        return os.open(path, os.O_RDONLY | flags)
    except PermissionError:
        raise WrongOwner(path, os.geteuid(), root) from None


def _write_number(fd: int) -> None:
    """Write a number to a new file; it can be overwritten later, even on a full disk.

    If there is no room, the file is kept without one: another process may have locked it already.
    """
    try:
        os.pwrite(fd, os.urandom(NUMBER_BYTES), 0)
    except OSError as error:
        if error.errno not in DISK_FULL:
            os.close(fd)
            raise


def _locked(fd: int, kind: int, path: str, patience: float) -> int:
    """Lock and return a descriptor; close it on failure."""
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
                raise TimeoutError(
                    f"timed out waiting for the lock of {path}: another process holds it"
                ) from None
        time.sleep(_PAUSE)
