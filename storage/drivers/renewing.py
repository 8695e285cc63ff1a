"""Having a file be new that belongs to somebody else: a copy of ours takes its place.

Only its owner may set a file's times, and by them a collection tells what was used. A registry
that ran as another user leaves such files behind. The copy is durable before it takes the place,
as the file was: whoever relied on that one may rely on this. That it took the place need not be
durable, as the file's times are not.

Several pushes may want one file at once, and a layer may be large. So the one that copies the file
locks it and waits for no other lock meanwhile, and those that waited for it find it replaced. They
give up after a while: a process may be suspended while it holds the lock.
"""

from __future__ import annotations

import fcntl
import os
import stat

from storage.drivers.base import CHUNK
from storage.drivers.lock_files import wait_for_lock
from storage.drivers.posix import READING, write_all
from storage.drivers.prepared import PreparedFile

# Seconds, as for the tree, which is locked for as long.
_PATIENCE = 30.0


def renew(path: str) -> None:
    """Replace a file by a copy of it; what is no file is left alone. Blocks while it is read.

    Raises PermissionError when the file can't be read, or nothing be put into its folder, and
    TimeoutError when another process holds the file for too long.
    """
    target = os.path.realpath(path)
    source = os.open(target, READING)
    try:
        if stat.S_ISREG(os.fstat(source).st_mode):
            wait_for_lock(source, fcntl.LOCK_EX, target, _PATIENCE)
            if _is_at(target, source):
                _replace(target, source)
    finally:
        os.close(source)


def _replace(target: str, source: int) -> None:
    copy = _Copy(target, source)
    try:
        copy.write()
        copy.sync()
        # What somebody has put there since is as new, and may be whole where this was not.
        if _is_at(target, source):
            copy.show()
    finally:
        copy.drop()


def _is_at(target: str, source: int) -> bool:
    return os.path.samestat(os.fstat(source), os.stat(target))


class _Copy(PreparedFile):
    """A copy of an open file, however large, that replaces the one at `target`."""

    def __init__(self, target: str, source: int) -> None:
        super().__init__(target, b"")
        self._from = source

    def write(self) -> None:
        """Write a temporary file in the same folder, a chunk at a time."""
        super().write()
        offset = 0
        while data := os.pread(self._from, CHUNK, offset):
            write_all(self._fd, data, offset)
            offset += len(data)
