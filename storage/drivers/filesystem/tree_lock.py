"""The tree lock, across processes: shared to publish, exclusive to remove.

    .registry/gate      locked, shared or exclusive, on the way to the tree lock
    .registry/tree      the tree lock

`flock` is not fair: an exclusive lock would wait as long as shared ones overlap. So every process
passes the gate first. A publisher locks the gate only until it has the shared tree lock. A remover
keeps the gate locked while it waits for the last publisher and while it holds the exclusive lock.

The files can be deleted while no server runs; `lock_files` says what is locked when they cannot be
created. `tree` contains a random number that changes when folders are removed. Then each process
drops what it has cached about folders.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from storage.drivers.filesystem.deferred_logs import deferred_logs
from storage.drivers.filesystem.lock_files import NUMBER_BYTES, LockFiles
from storage.drivers.filesystem.suspension import LockUsage
from storage.errors import DISK_FULL, AlreadyRunning, WrongOwner
from storage.values.paths import GATE, TREE, claim

# Seconds to wait for a lock. A publication does a few fsyncs, a removal is a few reads and renames.
_PATIENCE = 30.0
# Less, because publications wait behind a remover that waits for the exclusive lock.
_PATIENCE_EXCLUSIVE = 10.0


class LockedTree:
    """The tree lock, held either shared or exclusively."""

    def __init__(self, fd: int, root: str) -> None:
        self._fd = fd
        self._root = root

    @property
    def removal_number(self) -> bytes:
        """A number that differs from an earlier one if folders were removed in between.

        A stand-in folder contains no number, nor does a file that was created on a full disk. Then
        each call returns another number.
        """
        try:
            number = os.pread(self._fd, NUMBER_BYTES, 0)
        except IsADirectoryError:
            number = b""
        return number if len(number) == NUMBER_BYTES else os.urandom(NUMBER_BYTES)

    def change_removal_number(self) -> None:
        """Change the number, so that other processes learn that folders are removed.

        Raises `WrongOwner` when the file belongs to another user; then no folder may be removed.
        """
        try:
            os.pwrite(self._fd, os.urandom(NUMBER_BYTES), 0)
        except OSError as error:
            if self._has_no_number() and error.errno in (errno.EBADF, *DISK_FULL):
                return
            if error.errno != errno.EBADF:
                raise
            raise WrongOwner(f"{self._root}/{TREE}", os.geteuid(), self._root) from None

    def _has_no_number(self) -> bool:
        stat_result = os.fstat(self._fd)
        return stat.S_ISDIR(stat_result.st_mode) or stat_result.st_size < NUMBER_BYTES


class TreeLock:
    """The lock of the tree below `root`. Everything here blocks.

    Log records of a thread that holds the lock are written after it has released the lock.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._files = LockFiles(root)
        self._usage = LockUsage()

    @contextmanager
    def shared(self) -> Iterator[LockedTree]:
        """Hold the shared lock; raise TimeoutError when an exclusive one is held for too long."""
        with deferred_logs(), self._usage.counted():
            with self._locked(GATE, fcntl.LOCK_SH, _PATIENCE):
                tree = self._files.lock(TREE, fcntl.LOCK_SH, _PATIENCE)
            try:
                yield LockedTree(tree, self._root)
            finally:
                os.close(tree)

    @contextmanager
    def exclusive(self) -> Iterator[LockedTree]:
        """Hold the exclusive lock; raise TimeoutError when other locks are not released."""
        with (
            deferred_logs(),
            self._usage.counted(),
            self._locked(GATE, fcntl.LOCK_EX, _PATIENCE_EXCLUSIVE),
            self._locked(TREE, fcntl.LOCK_EX, _PATIENCE_EXCLUSIVE) as tree,
        ):
            yield LockedTree(tree, self._root)

    def suspend(self) -> None:
        """Suspend this process as soon as none of its threads holds or waits for the lock."""
        self._usage.suspend(_PATIENCE + _PATIENCE_EXCLUSIVE)

    def prepare(self) -> None:
        """Create the missing lock files that removals need."""
        self._files.prepare()

    def claim(self, what: str) -> int:
        """Take the lock named `what` and return its descriptor; raise `AlreadyRunning`."""
        try:
            return self._files.lock(claim(what), fcntl.LOCK_EX, patience=0.0)
        except TimeoutError:
            raise AlreadyRunning(what) from None

    @contextmanager
    def _locked(self, name: str, kind: int, patience: float) -> Iterator[int]:
        fd = self._files.lock(name, kind, patience)
        try:
            yield fd
        finally:
            os.close(fd)
