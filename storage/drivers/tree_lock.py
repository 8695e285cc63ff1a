"""Many who publish or one who removes: a lock on a whole tree, across processes.

    .registry/gate      passed by all on their way to the tree; kept by who wants to be alone
    .registry/tree      held by all who publish (shared), or by the one who is alone

`flock` is not fair: whoever wants to be alone would wait as long as publishers overlap. So they
queue at a gate, which a publisher passes in no time, and which stays shut behind the one who
waits to be alone until the last publisher has left.

The files can be deleted while nothing serves; `lock_files` says what is locked when none can be
made. `tree` holds a random number that changes when folders are removed: then each process forgets
what it remembers of folders.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from storage.drivers.deferred_logs import deferred_logs
from storage.drivers.lock_files import NUMBER_BYTES, LockFiles
from storage.drivers.lock_usage import LockUsage
from storage.errors import DISK_FULL, AlreadyRunning, NotOurs
from storage.paths import GATE, TREE, claim

# Seconds. Who publishes does a few fsyncs; who is alone looks at some files and removes them.
_PATIENCE = 30.0
# Less than that: who waits to be alone keeps everybody else waiting.
_PATIENCE_ALONE = 10.0


class Hold:
    """The tree, held in one way or the other."""

    def __init__(self, fd: int, root: str) -> None:
        self._fd = fd
        self._root = root

    @property
    def number(self) -> bytes:
        """A number that differs from the one before if folders were removed since.

        A folder that stands in for the file holds none, nor does a file that was made without room
        for it. Then each call returns another number.
        """
        try:
            number = os.pread(self._fd, NUMBER_BYTES, 0)
        except IsADirectoryError:
            number = b""
        return number if len(number) == NUMBER_BYTES else os.urandom(NUMBER_BYTES)

    def folders_went(self) -> None:
        """Have all others know that folders went, before the tree is let go of.

        Raises `NotOurs` when the number is another user's, and so none may go.
        """
        try:
            os.pwrite(self._fd, os.urandom(NUMBER_BYTES), 0)
        except OSError as error:
            if self._has_no_number() and error.errno in (errno.EBADF, *DISK_FULL):
                return
            if error.errno != errno.EBADF:
                raise
            raise NotOurs(f"{self._root}/{TREE}", os.geteuid(), self._root) from None

    def _has_no_number(self) -> bool:
        state = os.fstat(self._fd)
        return stat.S_ISDIR(state.st_mode) or state.st_size < NUMBER_BYTES


class TreeLock:
    """The lock of the tree below `root`. Everything here blocks.

    What a thread logs while it holds the lock is written after it has released it.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._files = LockFiles(root)
        self._usage = LockUsage()

    @contextmanager
    def shared(self) -> Iterator[Hold]:
        """Hold the tree among others; raise TimeoutError when someone is alone for too long."""
        with deferred_logs(), self._usage.counted():
            with self._locked(GATE, fcntl.LOCK_SH, _PATIENCE):
                tree = self._files.lock(TREE, fcntl.LOCK_SH, _PATIENCE)
            try:
                yield Hold(tree, self._root)
            finally:
                os.close(tree)

    @contextmanager
    def alone(self) -> Iterator[Hold]:
        """Hold the tree alone; raise TimeoutError when others do not let go of it."""
        with (
            deferred_logs(),
            self._usage.counted(),
            self._locked(GATE, fcntl.LOCK_EX, _PATIENCE_ALONE),
            self._locked(TREE, fcntl.LOCK_EX, _PATIENCE_ALONE) as tree,
        ):
            yield Hold(tree, self._root)

    def suspend(self) -> None:
        """Suspend this process as soon as no thread of it holds or waits for the tree."""
        self._usage.suspend(_PATIENCE + _PATIENCE_ALONE)

    def prepare(self) -> None:
        """Make the files of all locks that removals need, unless they are there."""
        self._files.prepare()

    def claim(self, what: str) -> int:
        """Return a descriptor that holds the lock named `what`; raise `AlreadyRunning`."""
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
