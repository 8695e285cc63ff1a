"""The recipes that make a change on disk atomic for readers and proof against a power cut.

A file: write a temporary one in the same folder, fsync it, rename it, fsync the folder.
A new folder: fsync its parent. With `sync` off, for scratch registries, the order stays and the
fsyncs go. These functions block; `filesystem` calls them on worker threads.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import uuid

# Another process may remove a folder (a tag being deleted) between our mkdir and our rename.
_ATTEMPTS = 16


def replace(path: str, content: bytes, *, sync: bool) -> None:
    """Make `content` the content of `path`, creating folders as needed."""
    for attempt in range(_ATTEMPTS):
        make_folders(os.path.dirname(path), sync=sync)
        try:
            _replace(path, content, sync=sync)
            return
        except FileNotFoundError:
            if attempt == _ATTEMPTS - 1:
                raise


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
        sync_folder(folder)


def adopt(fd: int, source: str, target: str, *, sync: bool) -> None:
    """Rename the complete file `source`, open as `fd`, to `target`."""
    if sync:
        os.fsync(fd)
    folder = os.path.dirname(target)
    make_folders(folder, sync=sync)
    os.rename(source, target)
    if sync:
        sync_folder(folder)


def make_folders(folder: str, *, sync: bool) -> None:
    """Create `folder` and its missing parents, each durable before anything is put in it."""
    missing = []
    while not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for path in reversed(missing):
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o755)
        if sync:
            sync_folder(os.path.dirname(path))


def remove(path: str, trash: str, *, sync: bool) -> bool:
    """Remove a file or a folder in one instant; return whether there was one.

    A folder is moved into `trash`, which lies on the same filesystem, and emptied there: a writer
    that recreates it meanwhile gets a fresh one and never loses a file to us.
    """
    try:
        os.unlink(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        if error.errno not in (errno.EISDIR, errno.EPERM):
            raise
        if not _move_aside(path, trash):
            return False
    if sync:
        # The parent may be on its way out too; then its own removal is what counts.
        with contextlib.suppress(FileNotFoundError):
            sync_folder(os.path.dirname(path))
    return True


def _move_aside(folder: str, trash: str) -> bool:
    os.makedirs(trash, exist_ok=True)
    aside = os.path.join(trash, uuid.uuid4().hex)
    try:
        os.rename(folder, aside)
    except FileNotFoundError:
        return False
    shutil.rmtree(aside, ignore_errors=True)
    return True


def write_all(fd: int, data: bytes | bytearray, offset: int) -> None:
    """Write all of `data` at `offset`, however many calls that takes."""
    with memoryview(data) as view:
        written = 0
        while written < len(view):
            written += os.pwrite(fd, view[written:], offset + written)


def sync_folder(folder: str) -> None:
    """Make the coming and going of a folder's entries durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
