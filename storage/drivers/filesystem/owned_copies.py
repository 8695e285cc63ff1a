"""Refreshing the mtime of another user's file: a copy of ours replaces it.

Only the owner of a file may set its mtime, on which collections rely. A registry that ran as
another user leaves such files behind. The copy is durable before it replaces the file, which was
durable too. The replacement itself need not be durable, as mtimes are not.

Several pushes may need the same file concurrently, and a layer may be large. So the process that
copies the file locks it, and waits for no other lock meanwhile; the others find it replaced when
they get the lock. They stop waiting after a while, because the holder may be suspended.
"""

from __future__ import annotations

import fcntl
import os
import stat

from storage.drivers.base import CHUNK
from storage.drivers.filesystem.lock_files import wait_for_lock
from storage.drivers.filesystem.posix import READING, write_all
from storage.drivers.filesystem.prepared import PreparedFile

# Seconds to wait for the file's lock, as for the tree lock, which is held meanwhile.
_PATIENCE = 30.0


def replace_by_copy(path: str) -> None:
    """Replace a regular file by a copy of it; blocks while the file is copied.

    Raises PermissionError when the file can't be read or its folder can't be written to, and
    TimeoutError when another process locks the file for too long.
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
        # A file that was published meanwhile has a new mtime, and may repair a damaged one.
        if _is_at(target, source):
            copy.show()
    finally:
        copy.drop()


def _is_at(target: str, source: int) -> bool:
    return os.path.samestat(os.fstat(source), os.stat(target))


class _Copy(PreparedFile):
    """A copy of an open file of any size, which replaces the file at `target`."""

    def __init__(self, target: str, source: int) -> None:
        super().__init__(target, b"")
        self._from = source

    def write(self) -> None:
        """Copy the file to a temporary one in the same folder, in chunks."""
        super().write()
        offset = 0
        while data := os.pread(self._from, CHUNK, offset):
            write_all(self._fd, data, offset)
            offset += len(data)
