"""All files below a root folder, foreign ones included, for counting what is on the disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

_ABSENT = (FileNotFoundError, NotADirectoryError)
# Nested folders that are open at the same time; deeper folders are read into memory.
_MOST_OPEN = 200

# An entry, and whether it is a folder; no entry at the end of a folder.
_Entry: TypeAlias = tuple[os.DirEntry[str] | None, bool]
_END: _Entry = (None, False)


class CountedFile(NamedTuple):
    """A file: its path, relative to the root, its size in bytes, its mtime in ns since 1970."""

    path: str
    size: int
    modified_ns: int


# Called with a path, relative to the root, that can't be read, and the error.
Complain: TypeAlias = Callable[[str, OSError], None]


class FileCensus:
    """The files below `root`, a folder. Everything here blocks."""

    def __init__(self, root: Path) -> None:
        self._root = os.fspath(root)

    def files(
        self, path: str, complain: Complain, apart: Collection[str] = ()
    ) -> Iterator[CountedFile]:
        """Yield the files at any depth below a folder, in no order, except the paths `apart`.

        Symbolic links are not followed, except for `path` itself: their targets may be counted
        already. Files that are removed meanwhile may be missing.
        """
        # A folder may contain a million folders, so it stays open while those are walked.
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
        stat_result = entry.stat(follow_symlinks=False)
    except _ABSENT:
        return
    except OSError as error:
        complain(path, error)
        return
    yield CountedFile(path, stat_result.st_size, stat_result.st_mtime_ns)
