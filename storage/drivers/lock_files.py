"""The files that processes lock, and the folders that stand in for them on a full disk.

A server makes the files when it starts. On a disk without room for a file they can't be made any
more, and that is when collecting and deleting matter most. Then a folder that is there already is
locked in place of the file. Whoever makes the file holds that folder meanwhile, and whoever holds
the folder looks first that the file is missing. So a file and its stand-in never count at once.

The locks are on files rather than folders where that is possible, because NFS passes those on to
its server.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import suppress

from storage.drivers import modes
from storage.errors import NotOurs
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
# The disk, or what this user may have of it, has no room for a file.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

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
        """Make what collections, scrubs and deletions need, and close all of it to others.

        Raises OSError, and TimeoutError while a process holds what stands in for a file.
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
        """Open a lock file, made if it is missing; its stand-in, locked, where it can't be made.

        Returns whether it is the stand-in.
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
            if error.errno in FULL:
                return folder, True
            os.close(folder)
            raise
        os.close(folder)
        return fd, False

    def _hold_stand_in(self, name: str, patience: float) -> int | None:
        """Hold what stands in for a lock file; None where there is no such folder."""
        folder = _STAND_INS.get(name)
        if folder is None:
            return None
        try:
            fd = os.open(self._at(folder), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return _locked(fd, fcntl.LOCK_EX, self._at(name), patience)

    def _open_or_make(self, name: str) -> int:
        """Make a lock file, closed to other users, unless it is there by now."""
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
            _write_number(fd, path)
        return fd

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}"


def _open(path: str, root: str) -> int | None:
    """Open a lock file; None when there is none. Raises `NotOurs`."""
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, os.O_RDWR | flags)
    except FileNotFoundError:
        return None
    except PermissionError:
        pass
    try:
        # Another user made it. Where it can be read it can be locked, and the number be read.
        return os.open(path, os.O_RDONLY | flags)
    except PermissionError:
        raise NotOurs(path, os.geteuid(), root) from None


def _write_number(fd: int, path: str) -> None:
    """Have a new file hold a number: on a disk that is full later it can be written over."""
    try:
        os.pwrite(fd, os.urandom(NUMBER_BYTES), 0)
    except BaseException:
        os.close(fd)
        os.unlink(path)
        raise


def _locked(fd: int, kind: int, path: str, patience: float) -> int:
    """Lock what is open; close it on failure."""
    try:
        _wait_for(fd, kind, path, patience)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _wait_for(fd: int, kind: int, path: str, patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise TimeoutError(f"{path} is held by another process") from None
        time.sleep(_PAUSE)
