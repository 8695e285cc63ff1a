"""The entries of a folder, one at a time: a folder of any size takes no memory."""

from __future__ import annotations

import os
from collections.abc import Iterator

from storage.drivers.base import Entry


def scan(path: str) -> Iterator[Entry]:
    """Yield what is in the folder `path`; raise OSError when it can't be read."""
    with os.scandir(path) as entries:
        for entry in entries:
            yield Entry(entry.name, is_folder(path, entry))


def is_folder(path: str, entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry of `path` is a folder, or a link to one that `leads_on` accepts."""
    try:
        return entry.is_dir(follow_symlinks=False) or leads_on(path, entry)
    except OSError:  # a symbolic link that leads to itself, say
        return False


def leads_on(path: str, entry: os.DirEntry[str]) -> bool:
    """Tell whether a link leads to a folder that it does not lie in; False for what is no link.

    A walk that followed a link to a folder above it would never end.
    """
    if not entry.is_symlink() or not entry.is_dir():
        return False
    here, there = os.path.realpath(path), os.path.realpath(f"{path}/{entry.name}")
    return here != there and not here.startswith(f"{there.rstrip('/')}/")
