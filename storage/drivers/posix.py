"""What the operating system does for one file or folder; everything here blocks."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil

from storage.buffers import Buffer

# A pipe that somebody put in the place of a file must not keep us waiting for its other end.
READING = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC

# What an error says when there is nothing to be read at a path: a folder, or a symbolic link that
# leads to itself, is nothing either.
ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.ENXIO})


def write_new(path: str, content: bytes) -> int:
    """Write a file that must be new and return its descriptor; on failure there is none."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        write_all(fd, content, 0)
    except BaseException:
        os.close(fd)
        os.unlink(path)
        raise
    return fd


def sync_or_empty(fd: int) -> None:
    """Sync a file that is being received; when that fails, empty it and raise.

    The kernel reports a failed write once and then takes the pages for clean: the next fsync would
    succeed, and vouch for bytes that are nowhere.
    """
    try:
        os.fsync(fd)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(fd, 0)
        raise


def write_all(fd: int, data: Buffer, offset: int) -> None:
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


def is_there(path: str) -> bool:
    """Tell whether there is anything at a path; an error is not taken for nothing."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def unlink(path: str) -> bool:
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


def discard(path: str) -> None:
    """Remove a file or a folder, in no hurry to have that durable; fine if it is gone.

    Raises OSError when something of it stays.
    """
    if not unlink(path) and not discard_folder(path):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            shutil.rmtree(path)


def discard_folder(path: str) -> bool:
    """Remove a folder with all in it as far as that is possible; return whether it was removed.

    Entries are removed as they are read, so a folder of any size takes no memory. A filesystem may
    leave out some of them meanwhile, so it is read again until nothing more can be removed.
    """
    while _discard_entries(path):
        if remove_empty(path):
            return True
    if not remove_empty(path):
        shutil.rmtree(path, ignore_errors=True)  # an error may have come but once
    return not os.path.lexists(path)


def _discard_entries(path: str) -> bool:
    """Remove what is in a folder; return whether anything was."""
    is_any = False
    with contextlib.suppress(OSError):
        if os.path.islink(path):
            return False
        with os.scandir(path) as entries:
            for entry in entries:
                is_any |= _discard_entry(entry)
    return is_any


def _discard_entry(entry: os.DirEntry[str]) -> bool:
    try:
        if entry.is_dir(follow_symlinks=False):
            return discard_folder(entry.path)
        os.unlink(entry.path)
    except OSError:
        return False
    return True


def remove_empty(path: str) -> bool:
    """Remove a folder; False when that is not possible, because something is in it."""
    try:
        os.rmdir(path)
    except OSError:
        return False
    return True
