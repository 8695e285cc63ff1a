"""The entries of a folder, one at a time: a folder of any size takes no memory.

A folder is absent if opening it says so. An error in the middle of reading never means absence,
whatever its number: NFS uses ELOOP for a server that repeats entries. Nor does the error of a
`stat` of one entry, which is needed on filesystems that list no types. A collection would delete
content whose links were not listed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from storage.drivers.base import Entry
from storage.drivers.filesystem.posix import ABSENT
from storage.errors import raise_if_exhausted

# Errors that mean that a symbolic link dangles.
_NOWHERE = ABSENT | {errno.ENAMETOOLONG}


def scan(path: str) -> Iterator[Entry]:
    """Yield the entries of the folder `path`, none if it is missing; raise OSError on failure."""
    return (Entry(entry.name, is_folder(path, entry)) for entry in listed(path))


def listed(path: str) -> Iterator[os.DirEntry[str]]:
    """Yield the entries as `os.scandir` does; raise as `scan` does."""
    try:
        entries = os.scandir(path)
    except OSError as error:
        if error.errno not in ABSENT:
            raise
        return
    with entries:
        yield from entries


def entry_at(path: str) -> Entry | None:
    """Return what `scan` yields for `path`; None when it is missing."""
    folder, _, name = path.rpartition("/")
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISLNK(mode):
        return Entry(name, stat.S_ISDIR(mode))
    return Entry(name, os.path.isdir(path) and _is_followed(folder, name))


def is_folder(path: str, entry: os.DirEntry[str]) -> bool:
    """Return whether an entry of `path` is a folder, or a link that `is_followed_link` accepts.

    Raises OSError when its `stat` fails.
    """
    try:
        return entry.is_dir(follow_symlinks=False) or is_followed_link(path, entry)
    except OSError as error:
        raise_if_exhausted(error)
        if error.errno not in _NOWHERE:
            raise
        return False


def is_followed_link(path: str, entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a link to a folder, other than one that contains the link.

    A walk that follows a link to a parent never ends.
    """
    return entry.is_symlink() and entry.is_dir() and _is_followed(path, entry.name)


def _is_followed(path: str, name: str) -> bool:
    here, there = os.path.realpath(path), os.path.realpath(f"{path}/{name}")
    return here != there and not here.startswith(f"{there.rstrip('/')}/")
