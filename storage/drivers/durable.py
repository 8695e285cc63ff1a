"""The recipes that make a change on disk atomic for readers and proof against a power cut.

A file: write a temporary one in the same folder, fsync it, rename it, fsync the folder.
A folder: fsync its parent before anything in it counts. With `sync` off, for scratch registries,
the order stays and the fsyncs go. Everything here blocks; `filesystem` calls it on its threads.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from itertools import takewhile

# Another process may remove a folder (a tag being deleted) at any point of a recipe.
_ATTEMPTS = 16
# Plenty for a busy registry; past it what is known is learned again.
_MOST_KNOWN = 100_000


class Disk:
    """Changes below `root`, which exists and is durable itself."""

    def __init__(self, root: str, *, sync: bool) -> None:
        self._root = root
        self._sync = sync
        # Folders whose entries in their parents this process has seen to be durable. A folder
        # found on disk may be younger than that: an upload's first note makes parents in passing.
        self._known: set[str] = set()

    def replace(self, path: str, content: bytes) -> None:
        """Make `content` the content of `path`, creating folders as needed."""
        self._write(path, content, sync=self._sync)

    def note(self, path: str, content: bytes) -> None:
        """Do the same for what a power cut may take away."""
        self._write(path, content, sync=False)

    def create(self, path: str) -> None:
        """Make an empty file that must be new, for what a power cut may take away."""
        self._make_folders(os.path.dirname(path), sync=False)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        os.close(os.open(path, flags, 0o644))

    def appear(self, folder: str, files: Mapping[str, bytes], scratch: str) -> bool:
        """Have a folder with `files` in it appear in one instant; False if one is there already.

        It is put together in `scratch`, which lies on the same filesystem, and renamed.
        """
        parent, aside = os.path.dirname(folder), os.path.join(scratch, uuid.uuid4().hex)
        for _ in range(_ATTEMPTS):
            try:
                self._make_folders(parent, sync=self._sync)
                _put_together(aside, files, sync=self._sync)
                _rename(aside, folder, sync=self._sync)
                return True
            except FileNotFoundError:
                self._forget(parent)
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    return False
                raise
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        raise FileNotFoundError(errno.ENOENT, "the folder keeps vanishing", parent)

    def adopt(self, fd: int, source: str, target: str) -> None:
        """Rename the complete file `source`, open as `fd`, to `target`."""
        if self._sync:
            os.fsync(fd)
        self._attempt(target, lambda: _rename(source, target, sync=self._sync), sync=self._sync)

    def remove(self, path: str, trash: str) -> bool:
        """Remove a file or a folder in one instant; return whether there was one.

        A folder is moved into `trash`, which lies on the same filesystem, and emptied there: a
        writer that recreates it meanwhile gets a fresh one and never loses a file to us.
        """
        if not _unlink(path) and not _move_aside(path, trash):
            return False
        if self._sync:
            # The parent may be on its way out too; then its own removal is what counts.
            with contextlib.suppress(FileNotFoundError):
                _sync_folder(os.path.dirname(path))
        return True

    def _write(self, path: str, content: bytes, *, sync: bool) -> None:
        self._attempt(path, lambda: _replace(path, content, sync=sync), sync=sync)

    def _attempt(self, path: str, change: Callable[[], None], *, sync: bool) -> None:
        """Make the folders of `path` and then `change` it, again if a folder went meanwhile."""
        for attempt in range(_ATTEMPTS):
            made: list[str] = []
            try:
                made = self._make_folders(os.path.dirname(path), sync=sync)
                change()
                return
            except FileNotFoundError:
                self._forget(os.path.dirname(path))
                if attempt == _ATTEMPTS - 1:
                    raise
            except OSError:
                # The disk may be full: what a listing would take for a tag must not stay.
                self._forget(os.path.dirname(path))
                _remove_empty(made)
                raise

    def _make_folders(self, folder: str, *, sync: bool) -> list[str]:
        """Create `folder` and its missing parents; with `sync`, see that each is durable.

        Returns those that were created.
        """
        made = []
        doubtful = takewhile(lambda one: one not in self._known, self._upwards(folder))
        for path in reversed(list(doubtful)):
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, 0o755)
                made.append(path)
            if sync:
                _sync_folder(os.path.dirname(path))
                self._learn(path)
        return made

    def _learn(self, folder: str) -> None:
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known.add(folder)

    def _forget(self, folder: str) -> None:
        for above in self._upwards(folder):
            self._known.discard(above)

    def _upwards(self, folder: str) -> Iterator[str]:
        """Yield `folder` and those above it, up to and without the root."""
        while folder not in (self._root, os.path.dirname(folder)):
            yield folder
            folder = os.path.dirname(folder)


def write_all(fd: int, data: bytes | bytearray, offset: int) -> None:
    """Write all of `data` at `offset`, however many calls that takes."""
    with memoryview(data) as view:
        written = 0
        while written < len(view):
            written += os.pwrite(fd, view[written:], offset + written)


def discard(path: str) -> None:
    """Remove a file or a folder, in no hurry to have that durable; fine if it is gone."""
    if not _unlink(path):
        shutil.rmtree(path, ignore_errors=True)


def _replace(path: str, content: bytes, *, sync: bool) -> None:
    folder = os.path.dirname(path)
    temporary = os.path.join(folder, f".tmp-{uuid.uuid4().hex}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        try:
            write_all(fd, content, 0)
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    if sync:
        _sync_folder(folder)


def _put_together(folder: str, files: Mapping[str, bytes], *, sync: bool) -> None:
    for name, content in files.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        _replace(path, content, sync=sync)
    if sync:
        for inner, _, _ in os.walk(folder, topdown=False):
            _sync_folder(inner)


def _remove_empty(folders: list[str]) -> None:
    """Remove folders again, innermost first, as far as nobody has put anything in them."""
    with contextlib.suppress(OSError):
        for folder in reversed(folders):
            os.rmdir(folder)


def _rename(source: str, target: str, *, sync: bool) -> None:
    os.rename(source, target)
    if sync:
        _sync_folder(os.path.dirname(target))


def _unlink(path: str) -> bool:
    """Remove a file; False when there is none, or a folder in its place."""
    try:
        os.unlink(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        if error.errno not in (errno.EISDIR, errno.EPERM):
            raise
        return False
    return True


def _move_aside(folder: str, trash: str) -> bool:
    aside = os.path.join(trash, uuid.uuid4().hex)
    # Another process that starts may sweep the trash away between the two steps.
    for _ in range(_ATTEMPTS):
        os.makedirs(trash, exist_ok=True)
        try:
            os.rename(folder, aside)
        except (FileNotFoundError, NotADirectoryError):
            if not os.path.lexists(folder):
                return False
            continue
        shutil.rmtree(aside, ignore_errors=True)
        return True
    return False


def _sync_folder(folder: str) -> None:
    """Make the coming and going of a folder's entries durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
