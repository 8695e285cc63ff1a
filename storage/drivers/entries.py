"""The entries of a folder, one at a time: a folder of any size takes no memory.

A folder is absent if it can't be opened for that reason. An error in the middle of reading is never
absence, whatever its number: NFS has ELOOP for a server that repeats entries. Nor is the error of a
look at one entry, which filesystems need that list no types of entries. A collection would take
what was not listed for unneeded.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from storage.drivers.base import Entry
from storage.drivers.posix import ABSENT
from storage.errors import raise_if_exhausted

# What an error says when a symbolic link leads to nothing.
_NOWHERE = ABSENT | {errno.ENAMETOOLONG}


def scan(path: str) -> Iterator[Entry]:
    """Yield what is in the folder `path`, if there is one; raise OSError when it can't be read."""
    return (Entry(entry.name, is_folder(path, entry)) for entry in listed(path))


def listed(path: str) -> Iterator[os.DirEntry[str]]:
    """Yield the entries as the system has them; raise as `scan` does."""
    try:
        entries = os.scandir(path)
    except OSError as error:
        if error.errno not in ABSENT:
            raise
        return
    with entries:
        yield from entries


def look(path: str) -> Entry | None:
    """Return what `scan` yields for `path`; None when nothing is there."""
    folder, _, name = path.rpartition("/")
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISLNK(mode):
        return Entry(name, stat.S_ISDIR(mode))
    return Entry(name, os.path.isdir(path) and _leads_on(folder, name))


def is_folder(path: str, entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry of `path` is a folder, or a link to one that `leads_on` accepts.

    Raises OSError when a look at it fails.
    """
    try:
        return entry.is_dir(follow_symlinks=False) or leads_on(path, entry)
    except OSError as error:
        raise_if_exhausted(error)
        if error.errno not in _NOWHERE:
            raise
        return False


def leads_on(path: str, entry: os.DirEntry[str]) -> bool:
    """Tell whether a link leads to a folder that it does not lie in; False for what is no link.

    A walk that followed a link to a folder above it would never end.
    """
    return entry.is_symlink() and entry.is_dir() and _leads_on(path, entry.name)


def _leads_on(path: str, name: str) -> bool:
    here, there = os.path.realpath(path), os.path.realpath(f"{path}/{name}")
    return here != there and not here.startswith(f"{there.rstrip('/')}/")
