"""Every file below a root folder, whoever put it there: for counting what is on the disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

_ABSENT = (FileNotFoundError, NotADirectoryError)
# Folders that are open at the same time, one in the other; what is deeper is read in one go.
_MOST_OPEN = 200

# Whether it is a folder; None at the end of one.
_Entry: TypeAlias = tuple[os.DirEntry[str] | None, bool]
_END: _Entry = (None, False)


class CountedFile(NamedTuple):
    """A file: its path as a driver has it, its size in bytes, its last change in ns since 1970."""

    path: str
    size: int
    modified_ns: int


# Called with a path, as a driver has it, that can't be read, and with what the system said.
Complain: TypeAlias = Callable[[str, OSError], None]


class FileCensus:
    """The files below `root`, a folder. Everything here blocks."""

    def __init__(self, root: Path) -> None:
        self._root = os.fspath(root)

    def files(
        self, path: str, complain: Complain, apart: Collection[str] = ()
    ) -> Iterator[CountedFile]:
        """Yield the files at any depth below a folder, in no order, without the paths `apart`.

        A symbolic link is no file, and is not followed, for it may lead to what was counted
        already; `path` itself may be one. What goes away meanwhile is left out.
        """
        # A folder may hold a million others, and is read while those are looked through.
        waiting = [(path, self._entries(path, complain))]
        while waiting:
            folder, entries = waiting[-1]
            entry, is_folder = next(entries, _END)
            if entry is None:
                waiting.pop()
                continue
            at = _join(folder, entry.name)
            if at in apart:
                continue
            if is_folder:
                below = self._entries(at, complain)
                waiting.append((at, below if len(waiting) < _MOST_OPEN else iter(list(below))))
            else:
                yield from _counted(at, entry, complain)

    def _entries(self, folder: str, complain: Complain) -> Iterator[_Entry]:
        """Yield the files and folders in one folder."""
        try:
            with os.scandir(f"{self._root}/{folder}") as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        yield entry, True
                    elif entry.is_file(follow_symlinks=False):
                        yield entry, False
        except _ABSENT:
            pass
        except OSError as error:
            complain(folder, error)


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _counted(path: str, entry: os.DirEntry[str], complain: Complain) -> Iterator[CountedFile]:
    try:
        found = entry.stat(follow_symlinks=False)
    except _ABSENT:
        return
    except OSError as error:
        complain(path, error)
        return
    yield CountedFile(path, found.st_size, found.st_mtime_ns)
