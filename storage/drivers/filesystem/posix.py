"""System calls on one file or folder; everything here blocks."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil

from storage.values.buffers import Buffer

# O_NONBLOCK: opening a named pipe in the place of a file must not wait for a writer.
READING = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC

# Errors that mean "no file at this path". A folder, or a symbolic link to itself, is no file.
ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.ENXIO})


def write_new(path: str, content: bytes) -> int:
    """Create a file, which must be missing, and return its descriptor; remove it on failure."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        write_all(fd, content, 0)
    except BaseException:
        os.close(fd)
        os.unlink(path)
        raise
    return fd


def sync_or_empty(fd: int) -> None:
    """Fsync an upload's file; on failure truncate it to zero bytes and raise.

    The kernel reports a failed write once and marks the pages clean. The next fsync would succeed
    although the bytes are not on disk.
    """
    try:
        os.fsync(fd)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(fd, 0)
        raise


def write_all(fd: int, data: Buffer, offset: int) -> None:
    """Write all of `data` at `offset`."""
    with memoryview(data) as view:
        written = 0
        while written < len(view):
            written += os.pwrite(fd, view[written:], offset + written)


def sync_folder(folder: str) -> None:
    """Fsync a folder, which makes additions and removals of its entries durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def path_exists(path: str) -> bool:
    """Return whether a path exists; raise OSError if that is unknown."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def unlink(path: str) -> bool:
    """Remove a file; return False when it is missing or a folder."""
    try:
        os.unlink(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        if error.errno not in (errno.EISDIR, errno.EPERM):
            raise
        return False
    return True


def discard(path: str) -> None:
    """Remove a file or a folder tree without fsync; a missing one is no error.

    Raises OSError when it could not be removed completely.
    """
    if not unlink(path) and not discard_folder(path):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            shutil.rmtree(path)


def discard_folder(path: str) -> bool:
    """Remove a folder tree as far as possible; return whether it was removed completely.

    Entries are removed as they are read, so a folder of any size takes no memory. Some filesystems
    skip entries meanwhile, so the folder is read again until nothing more can be removed.
    """
    while _discard_entries(path):
        if remove_empty(path):
            return True
    if not remove_empty(path):
        shutil.rmtree(path, ignore_errors=True)  # the error may have been transient
    return not os.path.lexists(path)


def _discard_entries(path: str) -> bool:
    """Remove the entries of a folder; return whether any was removed."""
    has_removed = False
    with contextlib.suppress(OSError):
        if os.path.islink(path):
            return False
        with os.scandir(path) as entries:
            for entry in entries:
                has_removed |= _discard_entry(entry)
    return has_removed


def _discard_entry(entry: os.DirEntry[str]) -> bool:
    try:
        if entry.is_dir(follow_symlinks=False):
            return discard_folder(entry.path)
        os.unlink(entry.path)
    except OSError:
        return False
    return True


def remove_empty(path: str) -> bool:
    """Remove a folder; return False when that fails, for example because it is not empty."""
    try:
        os.rmdir(path)
    except OSError:
        return False
    return True
