"""Removing while alone: out of everybody's sight at once, emptied when others may go on.

What is removed is renamed into a folder in the trash, however much it is: that takes no time.
Having it durable and giving the space back come after the tree was let go of. So does copying what
is moved to another filesystem: until then it has a temporary name beside its old place.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil

from storage.drivers import modes
from storage.drivers.file_view import FileView
from storage.drivers.posix import READING, discard, is_there, remove_empty, sync_folder
from storage.drivers.trash import NO_WAY_THERE, move_aside
from storage.drivers.tree_lock import Hold
from storage.paths import BLOBS, REPOSITORIES, ROOT, TRASH, temporary

logger = logging.getLogger(__name__)

_ABSENT = (FileNotFoundError, NotADirectoryError)


class FileEditor(FileView):
    """Reads, removals and moves below `root`, for the length of one job."""

    def __init__(self, root: str, held: Hold) -> None:
        super().__init__(root)
        self._held = held
        self._staying = {root, *(self._at(path) for path in (ROOT, BLOBS, REPOSITORIES))}
        self._trash = f"{root}/{TRASH}"
        self._aside: list[str] = []
        self._to_copy: list[tuple[str, str]] = []
        self._changed: dict[str, None] = {}
        self._is_told = False

    def remove(self, path: str) -> bool:
        """Remove a file or folder, and what it leaves empty."""
        at = self._at(path)
        if not is_there(at):
            return False
        self._tell()
        self._move_aside(at)
        self._note_removal(os.path.dirname(at))
        return True

    def move(self, path: str, target: str) -> bool:
        """Rename a file or folder, and remove what it leaves empty."""
        at, to = self._at(path), self._at(target)
        if not is_there(at):
            return False
        self._tell()
        self._make_folders(os.path.dirname(to))
        if is_there(to):
            self._move_aside(to)
        self._rename(at, to)
        self._note_removal(os.path.dirname(at))
        return True

    def remove_empty(self, path: str) -> bool:
        """Remove an empty folder, and what that leaves empty."""
        self._tell()
        if not remove_empty(self._at(path)):
            return False
        self._note_removal(os.path.dirname(self._at(path)))
        return True

    def finish(self, *, sync: bool) -> None:
        """Have the changes durable, and give back the space."""
        for source, target in self._to_copy:
            try:
                shutil.move(source, target, copy_function=_copy_and_sync if sync else shutil.copy2)
            except OSError as error:  # the next collections remove it
                logger.warning("%s was not moved to %s: %s", source, target, error)
        if sync:
            for folder in self._changed:
                with contextlib.suppress(*_ABSENT):  # it went as well, by a change that counts
                    sync_folder(folder)
        for aside in self._aside:
            try:
                discard(aside)
            except OSError as error:  # it is out of sight, and tried again by the next collection
                logger.warning("what was removed takes up space still: %s", error)

    def _tell(self) -> None:
        """Have others know that folders go, while none has gone: that may fail on a bad disk."""
        if not self._is_told:
            self._held.folders_went()
            self._is_told = True

    def _make_folders(self, folder: str) -> None:
        """Create a folder and its missing parents; all of them change."""
        if not os.path.isdir(folder):
            self._make_folders(os.path.dirname(folder))
            os.mkdir(folder, modes.of_folder(folder.removeprefix(f"{self._root}/")))
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
            if error.errno not in NO_WAY_THERE:
                raise
            aside = None
        if aside is None:
            discard(at)
        else:
            self._aside.append(aside)

    def _note_removal(self, folder: str) -> None:
        """Remove folders that are empty now; the first that stays has changed.

        A folder of all blobs or of all repositories stays: one that is missing is a disk that is
        not mounted.
        """
        while folder not in self._staying and remove_empty(folder):
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
