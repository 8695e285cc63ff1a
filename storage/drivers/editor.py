"""Removing while alone: out of everybody's sight at once, emptied when others may go on.

What is removed is renamed into a folder in the trash, however much it is: that takes no time.
Having it durable and giving the space back come after the tree was let go of.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import uuid
from collections.abc import Iterator

from storage.drivers.file_view import FileView
from storage.drivers.posix import discard, sync_folder
from storage.drivers.tree_lock import Hold
from storage.paths import ROOT, TRASH

logger = logging.getLogger(__name__)

_ATTEMPTS = 16
_ABSENT = (FileNotFoundError, NotADirectoryError)
# The tree is spread over several filesystems, or the disk is so full that no entry can be added.
_NO_WAY_THERE = frozenset({errno.EXDEV, errno.ENOSPC, errno.EDQUOT})


class FileEditor(FileView):
    """Reads, removals and moves below `root`, for the length of one job."""

    def __init__(self, root: str, held: Hold) -> None:
        super().__init__(root)
        self._held = held
        self._trash = f"{root}/{TRASH}"
        self._aside: list[str] = []
        self._changed: dict[str, None] = {}
        self._is_told = False

    def remove(self, path: str) -> bool:
        """Remove a file or folder, and what it leaves empty."""
        at = self._at(path)
        if not _is_there(at):
            return False
        self._tell()
        self._move_aside(at)
        self._note_removal(os.path.dirname(at))
        return True

    def move(self, path: str, target: str) -> bool:
        """Rename a file or folder, and remove what it leaves empty."""
        at, to = self._at(path), self._at(target)
        if not _is_there(at):
            return False
        self._tell()
        self._make_folders(os.path.dirname(to))
        if _is_there(to):
            self._move_aside(to)
        os.rename(at, to)
        self._note_removal(os.path.dirname(at))
        return True

    def remove_empty(self, path: str) -> bool:
        """Remove an empty folder, and what that leaves empty."""
        self._tell()
        try:
            os.rmdir(self._at(path))
        except OSError:
            return False
        self._note_removal(os.path.dirname(self._at(path)))
        return True

    def finish(self, *, sync: bool) -> None:
        """Have the changes durable, and give back the space."""
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
            os.mkdir(folder, 0o755)
        self._changed[folder] = None

    def _move_aside(self, at: str) -> None:
        aside = f"{self._trash}/{uuid.uuid4().hex}"
        for _ in range(_ATTEMPTS):
            try:
                os.rename(at, aside)
            except FileNotFoundError:
                # There is no trash yet, or a server that starts has just swept it away.
                if not self._make_trash():
                    break
            except OSError as error:
                if error.errno not in _NO_WAY_THERE:
                    raise
                break
            else:
                self._aside.append(aside)
                return
        discard(at)

    def _make_trash(self) -> bool:
        """Make the trash; False when there is no room for it."""
        try:
            os.makedirs(self._trash, exist_ok=True)
        except OSError as error:
            if error.errno not in _NO_WAY_THERE:
                raise
            return False
        return True

    def _note_removal(self, folder: str) -> None:
        """Remove folders that are empty now; the first that is not has changed."""
        for above in self._upwards(folder):
            try:
                os.rmdir(above)
            except OSError:
                self._changed[above] = None
                return
            self._changed.pop(above, None)

    def _upwards(self, folder: str) -> Iterator[str]:
        top = self._at(ROOT)
        while len(folder) > len(top):
            yield folder
            folder = os.path.dirname(folder)


def _is_there(path: str) -> bool:
    """Tell whether there is anything; an error is not taken for nothing."""
    try:
        os.lstat(path)
    except _ABSENT:
        return False
    return True
