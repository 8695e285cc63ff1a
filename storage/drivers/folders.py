"""The folders in a folder, remembered while the disk says that nothing came or went.

Ten thousand tags take several milliseconds to read, and a page shows a hundred of them. What a
large folder held is therefore kept, filed under the folder's identity and times. These are asked
of the disk at each listing, so it is still the disk that says what is there; what is remembered is
what a folder in that very state holds. Why no two states have the same identity and times:

- Whatever comes, goes or is replaced in a folder changes its ctime before the call that did it
  returns, and no program can set a ctime. Only filesystems are relied on that are known for it:
  `storage.drivers.mounts`.
- A folder is remembered only if its times tell every change apart: `storage.drivers.stamps`.
- What takes the place of a folder is another inode, or was made later.
- What a symbolic link in a folder leads to may change without a trace in the folder. With one
  among its entries nothing is remembered.
- A clock that is set back gives a later change an earlier one's ctime only by hitting its very
  nanosecond. Where times are whole seconds that is not rare, and nothing is remembered.
"""

from __future__ import annotations

import os
from sys import getsizeof
from typing import TypeAlias

from storage.cache import Lru
from storage.drivers import stamps
from storage.drivers.entries import is_folder, leads_on
from storage.drivers.mounts import is_local
from storage.drivers.posix import ABSENT

# Fewer are read about as fast as they are recalled.
_MANY = 256
# Bytes in all; a single folder may have an eighth of it, which is some 50,000 names.
_LIMIT = 32 << 20
# Bytes of a stamp, and of a name's place in a tuple.
_STAMP_BYTES = 256
_PLACE_BYTES = 8

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

# Device, inode, ctime, mtime, number of links.
_Stamp: TypeAlias = tuple[int, int, int, int, int]


class Folders:
    """Names the folders in a folder; remembers at most `limit` bytes. Threads may share one."""

    def __init__(self, limit: int = _LIMIT) -> None:
        self._held: Lru[_Stamp, tuple[str, ...]] = Lru(limit, _cost)

    def names(self, path: str) -> list[str]:
        """Name the folders in `path`, in no order; raise OSError when it can't be read."""
        try:
            fd = os.open(path, _FLAGS)
        except OSError as error:
            if error.errno not in ABSENT:
                raise
            return []
        try:
            state = os.fstat(fd)
            return _read(path, fd)[0] if _is_small(state) else self._recall(path, fd, state)
        finally:
            os.close(fd)

    def _recall(self, path: str, fd: int, state: os.stat_result) -> list[str]:
        stamp = _stamp(state)
        held = self._held.get(stamp)
        if held is not None:
            return list(held)
        # Asked before reading: what changes from here on must be told from what is read.
        may_last = stamps.is_settled(state)
        names, is_all = _read(path, fd)
        if may_last and is_all and is_local(fd):
            names.sort()  # Whoever sorts it again does so in no time.
            self._held.put(stamp, tuple(names))
        return names


def _is_small(state: os.stat_result) -> bool:
    """Whether a folder has few folders in it, each of which links back to it.

    Some filesystems do not count them, or not so far; the number is 1 then.
    """
    return 1 < state.st_nlink < _MANY


def _stamp(state: os.stat_result) -> _Stamp:
    times = state.st_ctime_ns, state.st_mtime_ns
    return state.st_dev, state.st_ino, *times, state.st_nlink


def _read(path: str, fd: int) -> tuple[list[str], bool]:
    """Return the names of folders, and whether the entries alone say which these are.

    A symbolic link to a folder counts if it `leads_on`.
    """
    try:
        names, others = _split(fd)
        links = [entry for entry in others if entry.is_symlink()]
        return names + [entry.name for entry in links if leads_on(path, entry)], not links
    except OSError:
        with os.scandir(fd) as entries:
            return [entry.name for entry in entries if is_folder(path, entry)], False


def _split(fd: int) -> tuple[list[str], list[os.DirEntry[str]]]:
    """Return the names of the entries that certainly are folders, and all other entries.

    A folder may hold a million others. An entry takes as much memory again as its name.
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
    return _STAMP_BYTES + sum(map(getsizeof, names)) + len(names) * _PLACE_BYTES
