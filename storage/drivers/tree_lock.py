"""Many who publish or one who removes: a lock on a whole tree, across processes.

    .registry/gate      passed by all on their way to the tree; kept by who wants to be alone
    .registry/tree      held by all who publish (shared), or by the one who is alone

`flock` is not fair: whoever wants to be alone would wait as long as publishers overlap. So they
queue at a gate, which a publisher passes in no time, and which stays shut behind the one who
waits to be alone until the last publisher has left.

The locks are on files rather than folders because NFS passes those on to its server. They can be
deleted while nothing serves. `tree` holds a random number that changes when folders go: what a
process remembers of folders it has seen it forgets when the number is another.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from storage.errors import AlreadyRunning, NotOurs
from storage.paths import GATE, OURS, TREE, claim

# Seconds. Who publishes does a few fsyncs; who is alone looks at some files and removes them.
_PATIENCE = 30.0
# Less than that: who waits to be alone keeps everybody else waiting.
_PATIENCE_ALONE = 10.0
_PAUSE = 0.001
_NUMBER_BYTES = 16


class Hold:
    """The tree, held in one way or the other."""

    def __init__(self, fd: int, root: str) -> None:
        self._fd = fd
        self._root = root

    @property
    def number(self) -> bytes:
        """What says that folders went when it differs from what it was before."""
        return os.pread(self._fd, _NUMBER_BYTES, 0)

    def folders_went(self) -> None:
        """Have all others know that folders went, before the tree is let go of.

        Raises `NotOurs` when the number is another user's, and so none may go.
        """
        try:
            os.pwrite(self._fd, os.urandom(_NUMBER_BYTES), 0)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            raise NotOurs(f"{self._root}/{TREE}", os.geteuid(), self._root) from None


class TreeLock:
    """The lock of the tree below `root`. Everything here blocks."""

    def __init__(self, root: str) -> None:
        self._root = root

    @contextmanager
    def shared(self) -> Iterator[Hold]:
        """Hold the tree among others; raise TimeoutError when someone is alone for too long."""
        with self._locked(GATE, fcntl.LOCK_SH, _PATIENCE):
            tree = self._lock(TREE, fcntl.LOCK_SH, _PATIENCE)
        try:
            yield Hold(tree, self._root)
        finally:
            os.close(tree)

    @contextmanager
    def alone(self) -> Iterator[Hold]:
        """Hold the tree alone; raise TimeoutError when others do not let go of it."""
        with (
            self._locked(GATE, fcntl.LOCK_EX, _PATIENCE_ALONE),
            self._locked(TREE, fcntl.LOCK_EX, _PATIENCE_ALONE) as tree,
        ):
            yield Hold(tree, self._root)

    def prepare(self) -> None:
        """Make the files of the lock, unless they are there."""
        for name in (GATE, TREE):
            os.close(self._open(f"{self._root}/{name}"))

    def claim(self, what: str) -> int:
        """Return a descriptor that holds the lock named `what`; raise `AlreadyRunning`."""
        try:
            return self._lock(claim(what), fcntl.LOCK_EX, patience=0.0)
        except TimeoutError:
            raise AlreadyRunning(what) from None

    @contextmanager
    def _locked(self, name: str, kind: int, patience: float) -> Iterator[int]:
        fd = self._lock(name, kind, patience)
        try:
            yield fd
        finally:
            os.close(fd)

    def _lock(self, name: str, kind: int, patience: float) -> int:
        path = f"{self._root}/{name}"
        fd = self._open(path)
        try:
            _wait_for(fd, kind, path, patience)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _open(self, path: str) -> int:
        flags = os.O_RDWR | os.O_CLOEXEC
        try:
            return os.open(path, flags)
        except PermissionError:
            # Another user made it: it can be locked, and the number be read, all the same.
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            with suppress(FileExistsError):
                os.mkdir(f"{self._root}/{OURS}", 0o755)
            fd = os.open(path, flags | os.O_CREAT, 0o644)
        try:
            # On a disk that is full later, what is there can be written over.
            Hold(fd, self._root).folders_went()
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
