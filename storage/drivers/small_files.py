"""Files of a few bytes, remembered while the disk says that they are the same.

A manifest that a thousand nodes pull is two links read a thousand times. Opening, reading and
closing one costs half as much again as a look at it, so a look is what a read of a known file
begins with, and ends with if nothing changed. Whether there is such a file is asked of the disk
each time; only its bytes are remembered, filed under its identity and its times:

- Whatever writes to a file, in place or not, changes its ctime before it returns, and no program
  can set a ctime. What takes a file's place is another inode, or was made later.
- A file is remembered only if its times tell every change apart: `storage.drivers.stamps`.
- All this holds where one kernel alone writes (`mounts.LOCAL`). Elsewhere, on NFS for one, a look
  may be answered from what another machine has changed since, and every file is opened and read
  each time.
"""

from __future__ import annotations

import errno
import os
import stat
from functools import cached_property
from typing import TypeAlias

from storage.drivers import stamps
from storage.drivers.base import SMALL, Mark
from storage.drivers.mounts import is_local
from storage.drivers.posix import READING

# Links take some 600 bytes each, and nothing more than a few KiB.
_MOST = 4096

# Device, inode, ctime, mtime and size: what differs between two states of a path.
_Stamp: TypeAlias = tuple[int, int, int, int, int]


class SmallFiles:
    """Reads files of at most SMALL bytes below `root`; for one thread."""

    def __init__(self, root: str, most: int = _MOST) -> None:
        self._root = root
        self._most = most
        self._held: dict[str, Mark] = {}

    def read(self, path: str) -> bytes:
        """Return what a file holds; raise OSError when there is none."""
        held = self._held.get(path)
        if held is not None:
            if held.state == _stamp(os.stat(held.path)):
                return held.content
            del self._held[path]
        return self._read(path, f"{self._root}/{path}")

    def mark(self, path: str) -> Mark | None:
        """Return what was read and how a change is noticed, if it surely is."""
        return self._held.get(path)

    def holds(self, mark: Mark) -> bool:
        """Look whether a file is there and is what it was."""
        try:
            return mark.state == _stamp(os.stat(mark.path))
        except OSError:
            return False

    def _read(self, path: str, whole: str) -> bytes:
        fd = os.open(whole, READING)
        try:
            # Asked before reading: what changes from here on must be told from what is read.
            state = os.fstat(fd)
            if not stat.S_ISREG(state.st_mode):
                raise IsADirectoryError(errno.EISDIR, "no regular file", whole)
            may_last = state.st_dev == self._device and stamps.is_settled(state)
            content = os.read(fd, SMALL)
        finally:
            os.close(fd)
        if may_last:
            if len(self._held) >= self._most:
                del self._held[next(iter(self._held))]
            self._held[path] = Mark(whole, content, _stamp(state))
        return content

    @cached_property
    def _device(self) -> int | None:
        """The device whose files can be told apart: that of the root, if it is a local one."""
        fd = os.open(self._root, os.O_RDONLY)
        try:
            return os.fstat(fd).st_dev if is_local(fd) else None
        finally:
            os.close(fd)


def _stamp(state: os.stat_result) -> _Stamp:
    return (state.st_dev, state.st_ino, state.st_ctime_ns, state.st_mtime_ns, state.st_size)
