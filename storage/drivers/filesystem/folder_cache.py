"""A cache of the names in large folders, valid while the folder's inode and times are unchanged.

Reading ten thousand tags takes several milliseconds, and a page shows a hundred of them. So the
names in a large folder are cached under the folder's inode and times, which every listing reads
from the disk. Why no two states of a folder have the same inode and times:

- A call that adds, removes or replaces an entry changes the folder's ctime before it returns, and
  no program can set a ctime. Only filesystems are trusted that are known to do so:
  `storage.drivers.filesystem.mounts`.
- A folder is cached only if its next change is sure to change its ctime:
  `storage.drivers.filesystem.timestamps`.
- A folder that replaces another has another inode, or was created later.
- The target of a symbolic link can change without a trace in the folder. A folder that contains a
  link is not cached.
- After the clock was set back, a later change could get an earlier ctime only by hitting the same
  nanosecond. Where times are whole seconds that is likely, and nothing is cached.
"""

from __future__ import annotations

import os
from sys import getsizeof
from typing import TypeAlias

from storage.drivers.filesystem import timestamps
from storage.drivers.filesystem.directory_entries import is_folder, is_followed_link
from storage.drivers.filesystem.mounts import is_local
from storage.drivers.filesystem.posix import ABSENT
from storage.values.cache import Lru

# Folders with fewer subfolders are read about as fast as the cache.
_MANY = 256
# Bytes in all. A single folder may use an eighth of it, some 50,000 names.
_LIMIT = 32 << 20
# Bytes of a stamp, and of a name's slot in a tuple.
_STAMP_BYTES = 256
_SLOT_BYTES = 8

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

# Device, inode, ctime, mtime, link count.
_Stamp: TypeAlias = tuple[int, int, int, int, int]


class FolderCache:
    """Lists the folders in a folder, with a cache of at most `limit` bytes; thread-safe."""

    def __init__(self, limit: int = _LIMIT) -> None:
        self._cache: Lru[_Stamp, tuple[str, ...]] = Lru(limit, _cost)

    def names(self, path: str) -> list[str]:
        """Return the names of the folders in `path`, in no order; raise OSError on failure."""
        try:
            fd = os.open(path, _FLAGS)
        except OSError as error:
            if error.errno not in ABSENT:
                raise
            return []
        try:
            stat_result = os.fstat(fd)
            if _is_small(stat_result):
                return _read(path, fd)[0]
            return self._read_cached(path, fd, stat_result)
        finally:
            os.close(fd)

    def _read_cached(self, path: str, fd: int, stat_result: os.stat_result) -> list[str]:
        stamp = _stamp(stat_result)
        cached = self._cache.get(stamp)
        if cached is not None:
            return list(cached)
        # Decided before reading: every change after this must get another ctime.
        is_settled = timestamps.is_settled(stat_result)
        names, has_no_links = _read(path, fd)
        if is_settled and has_no_links and is_local(fd):
            names.sort()  # callers sort it again, which is fast then
            self._cache.put(stamp, tuple(names))
        return names


def _is_small(stat_result: os.stat_result) -> bool:
    """Return whether a folder has few subfolders, each of which is a link to it.

    Filesystems that do not count them, or not that many, report a link count of 1.
    """
    return 1 < stat_result.st_nlink < _MANY


def _stamp(stat_result: os.stat_result) -> _Stamp:
    times = stat_result.st_ctime_ns, stat_result.st_mtime_ns
    return stat_result.st_dev, stat_result.st_ino, *times, stat_result.st_nlink


def _read(path: str, fd: int) -> tuple[list[str], bool]:
    """Return the names of the folders, and whether no entry is a symbolic link.

    A symbolic link to a folder counts as a folder if it `is_followed_link`.
    """
    try:
        names, others = _split(fd)
        links = [entry for entry in others if entry.is_symlink()]
        return names + [entry.name for entry in links if is_followed_link(path, entry)], not links
    except OSError:
        with os.scandir(fd) as entries:
            return [entry.name for entry in entries if is_folder(path, entry)], False


def _split(fd: int) -> tuple[list[str], list[os.DirEntry[str]]]:
    """Return the names of the real folders, and all other entries.

    Names only, because there may be a million: an entry takes twice the memory of its name.
    """
    names: list[str] = []
    others: list[os.DirEntry[str]] = []
    with os.scandir(fd) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                names.append(entry.name)
            else:
                others.append(entry)
    return names, others


def _cost(names: tuple[str, ...]) -> int:
    return _STAMP_BYTES + sum(map(getsizeof, names)) + len(names) * _SLOT_BYTES
