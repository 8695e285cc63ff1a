"""The entries of a folder, one at a time: a folder of any size takes no memory."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from storage.drivers.base import Entry
from storage.errors import raise_if_exhausted


def scan(path: str) -> Iterator[Entry]:
    """Yield what is in the folder `path`; raise OSError when it can't be read."""
    with os.scandir(path) as entries:
        for entry in entries:
            yield Entry(entry.name, is_folder(path, entry))


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
    """Tell whether an entry of `path` is a folder, or a link to one that `leads_on` accepts."""
    try:
        return entry.is_dir(follow_symlinks=False) or leads_on(path, entry)
    except OSError as error:
        raise_if_exhausted(error)
        return False  # a symbolic link that leads to itself, say


def leads_on(path: str, entry: os.DirEntry[str]) -> bool:
    """Tell whether a link leads to a folder that it does not lie in; False for what is no link.

    A walk that followed a link to a folder above it would never end.
    """
    return entry.is_symlink() and entry.is_dir() and _leads_on(path, entry.name)


def _leads_on(path: str, name: str) -> bool:
    here, there = os.path.realpath(path), os.path.realpath(f"{path}/{name}")
    return here != there and not here.startswith(f"{there.rstrip('/')}/")
