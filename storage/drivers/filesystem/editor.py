"""Removals and moves under the exclusive tree lock, which must be held only briefly.

Whatever is removed is renamed into the trash: one system call, however large it is. The fsyncs and
the emptying of the trash follow after the lock is released. So does the copy of what is moved to
another filesystem: until then it has a temporary name beside its old path.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil

from storage.drivers.filesystem import file_modes
from storage.drivers.filesystem.posix import (
    READING,
    discard,
    path_exists,
    remove_empty,
    sync_folder,
)
from storage.drivers.filesystem.reader import FileReader
from storage.drivers.filesystem.trash import CANNOT_RENAME, move_aside
from storage.drivers.filesystem.tree_lock import LockedTree
from storage.values.paths import BLOBS, REPOSITORIES, ROOT, TRASH, temporary

logger = logging.getLogger(__name__)

_ABSENT = (FileNotFoundError, NotADirectoryError)


class FileEditor(FileReader):
    """Reads, removals and moves below `root`, for one job."""

    def __init__(self, root: str, tree: LockedTree) -> None:
        super().__init__(root)
        self._tree = tree
        self._permanent = {root, *(self._absolute(path) for path in (ROOT, BLOBS, REPOSITORIES))}
        self._trash = f"{root}/{TRASH}"
        self._aside: list[str] = []
        self._to_copy: list[tuple[str, str]] = []
        self._changed: dict[str, None] = {}
        self._is_announced = False

    def remove(self, path: str) -> bool:
        at = self._absolute(path)
        if not path_exists(at):
            return False
        self._announce()
        self._move_aside(at)
        self._remove_empty_parents(at)
        return True

    def move(self, path: str, target: str) -> bool:
        at, to = self._absolute(path), self._absolute(target)
        if not path_exists(at):
            return False
        self._announce()
        self._create_folders(os.path.dirname(to))
        if path_exists(to):
            self._move_aside(to)
        self._rename(at, to)
        self._remove_empty_parents(at)
        return True

    def remove_empty(self, path: str) -> bool:
        self._announce()
        if not remove_empty(self._absolute(path)):
            return False
        self._remove_empty_parents(self._absolute(path))
        return True

    def finish(self, *, sync: bool) -> None:
        """Copy, fsync and empty the trash, after the lock is released."""
        for source, target in self._to_copy:
            try:
                shutil.move(source, target, copy_function=_copy_and_sync if sync else shutil.copy2)
            except OSError as error:  # a later collection removes the source
                logger.warning("could not move %s to %s: %s", source, target, error)
        if sync:
            for folder in self._changed:
                with contextlib.suppress(*_ABSENT):  # removed by another change, which is synced
                    sync_folder(folder)
        for aside in self._aside:
            try:
                discard(aside)
            except OSError as error:  # readers don't see it; the next collection tries again
                logger.warning("could not free the space of what was removed: %s", error)

    def _announce(self) -> None:
        """Record that folders are removed, before the first one is: this may fail on a bad disk."""
        if not self._is_announced:
            self._tree.change_removal_number()
            self._is_announced = True

    def _create_folders(self, folder: str) -> None:
        """Create a folder and its missing parents, all of which have to be synced."""
        if not os.path.isdir(folder):
            self._create_folders(os.path.dirname(folder))
            os.mkdir(folder, file_modes.of_folder(folder.removeprefix(f"{self._root}/")))
        self._changed[folder] = None

    def _rename(self, at: str, to: str) -> None:
        try:
            os.rename(at, to)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            source = f"{os.path.dirname(at)}/{temporary()}"
            os.rename(at, source)
            self._to_copy.append((source, to))

    def _move_aside(self, at: str) -> None:
        try:
            aside = move_aside(at, self._trash)
        except OSError as error:
            if error.errno not in CANNOT_RENAME:
                raise
            aside = None
        if aside is None:
            discard(at)
        else:
            self._aside.append(aside)

    def _remove_empty_parents(self, at: str) -> None:
        """Remove the parents that are empty now, and record the first other one to be synced.

        The folders of all blobs and of all repositories are kept even when empty: if one of them
        is missing, a disk is not mounted.
        """
        folder = os.path.dirname(at)
        while folder not in self._permanent and remove_empty(folder):
            self._changed.pop(folder, None)
            folder = os.path.dirname(folder)
        self._changed[folder] = None


def _copy_and_sync(source: str, target: str) -> None:
    shutil.copy2(source, target)
    fd = os.open(target, READING)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
