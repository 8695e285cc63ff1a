"""The recipes that make a change on disk atomic for readers and durable.

A file: write a temporary file in the same folder, fsync it, rename it, fsync the folder.
A folder: fsync its parent before relying on anything in it.

Several changes in order: first everything that readers cannot see, for all steps together (new
folders, temporary files, the fsync of each). Then the steps, one after the other: rename, fsync
the folders. So the disk is waited for once, and once more for each step.

With `sync` off, for scratch registries, the order is the same, without any fsync. Everything here
blocks; the driver calls it on its threads.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, takewhile
from sys import getsizeof

from storage.drivers.filesystem import file_modes
from storage.drivers.filesystem.posix import discard, sync_folder, unlink, write_new
from storage.drivers.filesystem.prepared import Prepared, PreparedFile
from storage.drivers.filesystem.trash import empty_out, hide
from storage.drivers.filesystem.tree_lock import LockedTree, TreeLock

# A recipe is repeated: another process may remove a folder, say of a deleted tag, at any point.
_ATTEMPTS = 16
# Bytes for some 100,000 folders. When they are used up, all folders are dropped.
_KNOWN_BYTES = 24 << 20
# Bytes of an element's slot in a set.
_SLOT_BYTES = 64


class Disk:
    """Carries out changes below `root`, which exists and is durable itself."""

    def __init__(self, root: str, tree: TreeLock, *, sync: bool) -> None:
        self._root = root
        self._tree = tree
        self._sync = sync
        # Folders whose entries in their parents this process knows to be durable. A folder that
        # exists need not be: the first note of an upload creates parents without fsync.
        self._known: set[str] = set()
        self._known_bytes = 0
        self._removal_number = b""  # the tree's, when the first of them was added

    def publish(
        self, steps: Sequence[Sequence[Prepared]], check: Callable[[], object] | None = None
    ) -> list[str]:
        """Carry out changes step by step; return the targets that exist and were not replaced.

        `check` is called first, under the shared tree lock. On failure some whole steps and a part
        of the next one are done, and no temporary files are left of the others.
        """
        with self._tree.shared() as tree:
            self._forget_if_removed(tree)
            if check is not None:
                check()
            return self._publish(steps)

    def _forget_if_removed(self, tree: LockedTree) -> None:
        """Forget the known folders if any folder was removed: they may have been recreated."""
        number = tree.removal_number
        if number != self._removal_number:
            self._forget_all()
            self._removal_number = number

    def _publish(self, steps: Sequence[Sequence[Prepared]]) -> list[str]:
        pending = [list(step) for step in steps]
        existing: list[str] = []
        for attempt in range(_ATTEMPTS):
            try:
                self._attempt(pending, existing)
                break
            except FileNotFoundError:
                if attempt == _ATTEMPTS - 1:
                    raise
        return existing

    def write_unsynced(self, path: str, content: bytes) -> None:
        """Replace the content of `path` atomically, without fsync."""
        for attempt in range(_ATTEMPTS):
            created: list[str] = []
            file = PreparedFile(path, content)
            try:
                self._create_missing(os.path.dirname(path), created)
                file.write()
                file.show()
                break
            except OSError as error:
                file.drop()
                _remove_empty(created)
                if not isinstance(error, FileNotFoundError) or attempt == _ATTEMPTS - 1:
                    raise
            finally:
                file.drop()

    def create_unsynced(self, path: str, files: Mapping[str, bytes]) -> None:
        """Create `files`, then an empty file at `path`, all of them new, without fsync."""
        for attempt in range(_ATTEMPTS):
            try:
                self._create_unsynced(path, files)
                break
            except FileNotFoundError:
                if attempt == _ATTEMPTS - 1:
                    raise

    def _create_unsynced(self, path: str, files: Mapping[str, bytes]) -> None:
        created: list[str] = []
        written: list[str] = []
        try:
            for folder in dict.fromkeys(map(os.path.dirname, (*files, path))):
                self._create_missing(folder, created)
            for new, content in (*files.items(), (path, b"")):
                os.close(write_new(new, content))
                written.append(new)
        except OSError:
            for new in written:
                discard(new)
            _remove_empty(created)
            raise

    def _attempt(self, pending: list[list[Prepared]], existing: list[str]) -> None:
        """Carry out the pending steps, and remove each from `pending` when it is done."""
        created: list[str] = []
        try:
            self._prepare(pending, created)
            while pending:
                existing += self._show(pending[0])
                _drop(pending.pop(0))
        except BaseException as error:
            _drop(chain(*pending))
            for change in chain(*pending):
                self._forget(os.path.dirname(change.target))
            if not isinstance(error, FileNotFoundError):
                # The disk may be full: an empty folder that looks like a tag must not stay.
                _remove_empty(created)
            raise

    def _prepare(self, pending: list[list[Prepared]], created: list[str]) -> None:
        """Do all that readers cannot see, and make it durable."""
        unsynced: dict[str, None] = {}
        for change in chain(*pending):
            unknown = self._create_folders(os.path.dirname(change.target), created)
            unsynced.update(dict.fromkeys(unknown if change.is_durable else ()))
        for change in chain(*pending):
            change.write()
        if self._sync:
            for change in filter(_is_durable, chain(*pending)):
                change.sync()
            for parent in dict.fromkeys(map(os.path.dirname, unsynced)):
                sync_folder(parent)
        self._learn(unsynced)

    def _show(self, step: list[Prepared]) -> list[str]:
        """Make a step visible and durable; return the targets that exist and were not replaced."""
        shown = [change for change in step if change.show()]
        if self._sync:
            lasting = (os.path.dirname(change.target) for change in step if change.is_durable)
            for folder in dict.fromkeys(lasting):
                sync_folder(folder)
        self._learn(chain.from_iterable(change.folders for change in shown))
        return [change.target for change in step if change not in shown]

    def remove(self, path: str, trash: str, check: Callable[[], object] | None = None) -> bool:
        """Remove a file or a folder atomically, after `check`; return whether it existed.

        A folder is renamed into `trash`, or beside `path` if `trash` is on another filesystem. It
        is emptied only once the rename is durable: otherwise it could come back half empty after a
        power failure. A writer that recreates it meanwhile gets a new folder and loses no file.
        """
        aside = None
        with self._tree.shared() as tree:
            if check is not None:
                check()
            if not unlink(path):
                # Other processes must not take a new folder for this one.
                tree.change_removal_number()
                aside = hide(path, trash)
                if aside is None:
                    return False
        if self._sync:
            # The parent may have been removed as well; then that removal is synced instead.
            with contextlib.suppress(FileNotFoundError):
                sync_folder(os.path.dirname(path))
        if aside is not None:
            empty_out(aside)
        return True

    def sync_removals(self, path: str) -> None:
        """Fsync `path` and its parents, as far as they are existing folders."""
        for folder in self._upwards(path) if self._sync else ():
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                sync_folder(folder)

    def _create_folders(self, folder: str, created: list[str]) -> list[str]:
        """Create `folder` and its missing parents, and add those to `created`.

        Returns the folders on the way that are not known to be durable.
        """
        unknown = list(takewhile(lambda path: path not in self._known, self._upwards(folder)))
        for path in reversed(unknown):
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, self._mode(path))
                created.append(path)
        return unknown

    def _create_missing(self, folder: str, created: list[str]) -> None:
        """Create `folder` and its missing parents, and add those to `created`."""
        try:
            os.mkdir(folder, self._mode(folder))
        except FileExistsError:
            return
        except FileNotFoundError:
            self._create_missing(os.path.dirname(folder), created)
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder, self._mode(folder))
        created.append(folder)

    def _mode(self, folder: str) -> int:
        return file_modes.of_folder(folder.removeprefix(f"{self._root}/"))

    def _learn(self, folders: Iterable[str]) -> None:
        if self._known_bytes >= _KNOWN_BYTES:
            self._forget_all()
        for folder in folders:
            if folder not in self._known:
                self._known.add(folder)
                self._known_bytes += getsizeof(folder) + _SLOT_BYTES

    def _forget_all(self) -> None:
        self._known.clear()
        self._known_bytes = 0

    def _forget(self, folder: str) -> None:
        for above in self._upwards(folder):
            if above in self._known:
                self._known.discard(above)
                self._known_bytes -= getsizeof(above) + _SLOT_BYTES

    def _upwards(self, folder: str) -> Iterator[str]:
        """Yield `folder` and its parents, without the root."""
        while folder not in (self._root, os.path.dirname(folder)):
            yield folder
            folder = os.path.dirname(folder)


def _is_durable(change: Prepared) -> bool:
    return change.is_durable


def _drop(changes: Iterable[Prepared]) -> None:
    for change in changes:
        change.drop()


def _remove_empty(folders: list[str]) -> None:
    """Remove those of `folders` that are still empty, the last created first."""
    for folder in reversed(folders):
        with contextlib.suppress(OSError):
            os.rmdir(folder)
