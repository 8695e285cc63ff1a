"""The recipes that make a change on disk atomic for readers and proof against a power cut.

A file: write a temporary one in the same folder, fsync it, rename it, fsync the folder.
A folder: fsync its parent before anything in it counts.

Several changes in order: all that none of them shows to a reader comes first and together (new
folders, temporary files, the fsync of each), then one step after the other is renamed and its
folders are synced. That order asks for as many waits for the disk as there are steps, and one.

With `sync` off, for scratch registries, the order stays and the fsyncs go. Everything here blocks;
`filesystem` calls it on its threads.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, takewhile
from sys import getsizeof

from storage.drivers import modes
from storage.drivers.posix import discard, sync_folder, unlink, write_new
from storage.drivers.prepared import Prepared, PreparedFile
from storage.drivers.trash import empty_out, hide
from storage.drivers.tree_lock import Hold, TreeLock

# Another process may remove a folder (a tag being deleted) at any point of a recipe.
_ATTEMPTS = 16
# Bytes: some 100,000 folders. Over it all of them are forgotten and learned again.
_KNOWN_BYTES = 24 << 20
# Bytes of an element's place in a set.
_PLACE_BYTES = 64


class Disk:
    """Changes below `root`, which exists and is durable itself."""

    def __init__(self, root: str, tree: TreeLock, *, sync: bool) -> None:
        self._root = root
        self._tree = tree
        self._sync = sync
        # Folders whose entries in their parents this process has seen to be durable. A folder
        # found on disk may be younger than that: an upload's first note makes parents in passing.
        self._known: set[str] = set()
        self._known_bytes = 0
        self._known_since = b""

    def publish(
        self, steps: Sequence[Sequence[Prepared]], check: Callable[[], object] | None = None
    ) -> list[str]:
        """Carry out changes step by step; return the targets that something was in the way of.

        `check` is called first, when nobody is alone on the tree any more. When it fails, a number
        of whole steps and a part of the next one are done, and nothing is left of the others.
        """
        with self._tree.shared() as held:
            self._recall(held)
            if check is not None:
                check()
            return self._publish(steps)

    def _recall(self, held: Hold) -> None:
        """Forget what was known of folders if any went since: they may be others by now."""
        number = held.number
        if number != self._known_since:
            self._forget_all()
            self._known_since = number

    def _publish(self, steps: Sequence[Sequence[Prepared]]) -> list[str]:
        pending = [list(step) for step in steps]
        in_the_way: list[str] = []
        for attempt in range(_ATTEMPTS):
            try:
                self._attempt(pending, in_the_way)
                break
            except FileNotFoundError:
                if attempt == _ATTEMPTS - 1:
                    raise
        return in_the_way

    def note(self, path: str, content: bytes) -> None:
        """Make `content` the content of `path`, for what a power cut may take away."""
        for attempt in range(_ATTEMPTS):
            made: list[str] = []
            file = PreparedFile(path, content)
            try:
                self._make_missing(os.path.dirname(path), made)
                file.write()
                file.show()
                break
            except OSError as error:
                file.drop()
                _remove_empty(made)
                if not isinstance(error, FileNotFoundError) or attempt == _ATTEMPTS - 1:
                    raise
            finally:
                file.drop()

    def begin(self, path: str, notes: Mapping[str, bytes]) -> None:
        """Make an empty file, after `notes`: all new, and nothing that a power cut may not take."""
        for attempt in range(_ATTEMPTS):
            try:
                self._begin(path, notes)
                break
            except FileNotFoundError:
                if attempt == _ATTEMPTS - 1:
                    raise

    def _begin(self, path: str, notes: Mapping[str, bytes]) -> None:
        made: list[str] = []
        written: list[str] = []
        try:
            for folder in dict.fromkeys(map(os.path.dirname, (*notes, path))):
                self._make_missing(folder, made)
            for new, content in (*notes.items(), (path, b"")):
                os.close(write_new(new, content))
                written.append(new)
        except OSError:
            for new in written:
                discard(new)
            _remove_empty(made)
            raise

    def _attempt(self, pending: list[list[Prepared]], in_the_way: list[str]) -> None:
        """Carry out what is pending, and take from it what is done."""
        made: list[str] = []
        try:
            self._prepare(pending, made)
            while pending:
                in_the_way += self._show(pending[0])
                _drop(pending.pop(0))
        except BaseException as error:
            _drop(chain(*pending))
            for change in chain(*pending):
                self._forget(os.path.dirname(change.target))
            if not isinstance(error, FileNotFoundError):
                # The disk may be full: what a listing would take for a tag must not stay.
                _remove_empty(made)
            raise

    def _prepare(self, pending: list[list[Prepared]], made: list[str]) -> None:
        """Do all that no reader sees, and have it durable."""
        doubtful: dict[str, None] = {}
        for change in chain(*pending):
            unknown = self._make_folders(os.path.dirname(change.target), made)
            doubtful.update(dict.fromkeys(unknown if change.is_lasting else ()))
        for change in chain(*pending):
            change.write()
        if self._sync:
            for change in filter(_is_lasting, chain(*pending)):
                change.sync()
            for parent in dict.fromkeys(map(os.path.dirname, doubtful)):
                sync_folder(parent)
        self._learn(doubtful)

    def _show(self, step: list[Prepared]) -> list[str]:
        """Make a step visible and durable; return the targets that something was in the way of."""
        shown = [change for change in step if change.show()]
        if self._sync:
            lasting = (os.path.dirname(change.target) for change in step if change.is_lasting)
            for folder in dict.fromkeys(lasting):
                sync_folder(folder)
        self._learn(chain.from_iterable(change.folders for change in shown))
        return [change.target for change in step if change not in shown]

    def remove(self, path: str, trash: str, check: Callable[[], object] | None = None) -> bool:
        """Remove a file or a folder in one instant, after `check`; return whether there was one.

        A folder is moved into `trash`, or renamed beside `path` if that is on another filesystem,
        and emptied once that is durable: else it could come back half empty. A writer that
        recreates it meanwhile gets a fresh one and never loses a file to us.
        """
        aside = None
        with self._tree.shared() as held:
            if check is not None:
                check()
            if not unlink(path):
                held.folders_went()  # whoever finds another in its place must not take it for this
                aside = hide(path, trash)
                if aside is None:
                    return False
        if self._sync:
            # The parent may be on its way out too; then its own removal is what counts.
            with contextlib.suppress(FileNotFoundError):
                sync_folder(os.path.dirname(path))
        if aside is not None:
            empty_out(aside)
        return True

    def settle(self, path: str) -> None:
        """Sync `path` and what is above it, as far as these are folders and there."""
        for folder in self._upwards(path) if self._sync else ():
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                sync_folder(folder)

    def _make_folders(self, folder: str, made: list[str]) -> list[str]:
        """Create `folder` and its missing parents; return those not known to be durable.

        Those that were created are added to `made`.
        """
        doubtful = list(takewhile(lambda one: one not in self._known, self._upwards(folder)))
        for path in reversed(doubtful):
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, self._mode(path))
                made.append(path)
        return doubtful

    def _make_missing(self, folder: str, made: list[str]) -> None:
        """Create `folder` and its missing parents, and add those that were created to `made`."""
        try:
            os.mkdir(folder, self._mode(folder))
        except FileExistsError:
            return
        except FileNotFoundError:
            self._make_missing(os.path.dirname(folder), made)
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder, self._mode(folder))
        made.append(folder)

    def _mode(self, folder: str) -> int:
        return modes.of_folder(folder.removeprefix(f"{self._root}/"))

    def _learn(self, folders: Iterable[str]) -> None:
        if self._known_bytes >= _KNOWN_BYTES:
            self._forget_all()
        for folder in folders:
            if folder not in self._known:
                self._known.add(folder)
                self._known_bytes += getsizeof(folder) + _PLACE_BYTES

    def _forget_all(self) -> None:
        self._known.clear()
        self._known_bytes = 0

    def _forget(self, folder: str) -> None:
        for above in self._upwards(folder):
            if above in self._known:
                self._known.discard(above)
                self._known_bytes -= getsizeof(above) + _PLACE_BYTES

    def _upwards(self, folder: str) -> Iterator[str]:
        """Yield `folder` and those above it, up to and without the root."""
        while folder not in (self._root, os.path.dirname(folder)):
            yield folder
            folder = os.path.dirname(folder)


def _is_lasting(change: Prepared) -> bool:
    return change.is_lasting


def _drop(changes: Iterable[Prepared]) -> None:
    for change in changes:
        change.drop()


def _remove_empty(folders: list[str]) -> None:
    """Remove folders again, innermost first, as far as nobody has put anything in them."""
    for folder in reversed(folders):
        with contextlib.suppress(OSError):
            os.rmdir(folder)
