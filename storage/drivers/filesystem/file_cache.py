"""A cache of small files, valid while the file's inode and times are unchanged.

When a thousand nodes pull a manifest, two links are read a thousand times. Opening, reading and
closing a file costs half as much again as one `stat`. So a read of a known file is a `stat`, and
ends there if nothing changed. Only the bytes are cached, with the file's inode and times:

- Every write to a file changes its ctime before the call returns, and no program can set a ctime.
  A file that replaces another has another inode, or was created later.
- A file is cached only if its next change is sure to change its ctime:
  `storage.drivers.filesystem.timestamps`.
- All this is true where only one kernel writes (`mounts.LOCAL`). Elsewhere, on NFS for example, a
  `stat` may be answered from a cache although another machine has changed the file. There every
  file is opened and read each time.
"""

from __future__ import annotations

import errno
import os
import stat
from functools import cached_property
from typing import TypeAlias

from storage.drivers.base import SMALL, FileSnapshot
from storage.drivers.filesystem import timestamps
from storage.drivers.filesystem.mounts import is_local
from storage.drivers.filesystem.posix import READING

# Files. A link takes some 600 bytes of memory, no file more than a few KiB.
_MOST = 4096

# Device, inode, ctime, mtime and size, which differ between any two states of a path.
_Stamp: TypeAlias = tuple[int, int, int, int, int]


class FileCache:
    """Reads files of at most SMALL bytes below `root`; not thread-safe."""

    def __init__(self, root: str, most: int = _MOST) -> None:
        self._root = root
        self._most = most
        self._cache: dict[str, FileSnapshot] = {}

    def read(self, path: str) -> bytes:
        """Return the content of a file; raise OSError when it is missing."""
        cached = self._cache.get(path)
        if cached is not None:
            if cached.state == _stamp(os.stat(cached.path)):
                return cached.content
            del self._cache[path]
        return self._read(path, f"{self._root}/{path}")

    def snapshot(self, path: str) -> FileSnapshot | None:
        """Return the content and state of a cached file; None when it is not cached."""
        return self._cache.get(path)

    def is_unchanged(self, snapshot: FileSnapshot) -> bool:
        """Return whether a file exists and is unchanged."""
        try:
            return snapshot.state == _stamp(os.stat(snapshot.path))
        except OSError:
            return False

    def _read(self, path: str, absolute: str) -> bytes:
        fd = os.open(absolute, READING)
        try:
            # Taken before reading: every change after this must get another ctime.
            stat_result = os.fstat(fd)
            if not stat.S_ISREG(stat_result.st_mode):
                raise IsADirectoryError(errno.EISDIR, "no regular file", absolute)
            is_cacheable = stat_result.st_dev == self._device and timestamps.is_settled(stat_result)
            content = os.read(fd, SMALL)
        finally:
            os.close(fd)
        if is_cacheable:
            if len(self._cache) >= self._most:
                del self._cache[next(iter(self._cache))]
            self._cache[path] = FileSnapshot(absolute, content, _stamp(stat_result))
        return content

    @cached_property
    def _device(self) -> int | None:
        """The device of the root, if it is local: only files on it are cached."""
        fd = os.open(self._root, os.O_RDONLY)
        try:
            return os.fstat(fd).st_dev if is_local(fd) else None
        finally:
            os.close(fd)


def _stamp(stat_result: os.stat_result) -> _Stamp:
    times = stat_result.st_ctime_ns, stat_result.st_mtime_ns
    return stat_result.st_dev, stat_result.st_ino, *times, stat_result.st_size
