"""Replaces a small file atomically and durably while other processes read it.

A writer locks the folder of the file, so concurrent edits are not lost and no lock file is left.
`watched` reads such files.
"""

from __future__ import annotations

import fcntl
import os
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from storage.drivers.filesystem.lock_files import wait_for_lock

_LARGEST = 16 << 20
PATIENCE = 10.0  # seconds; a lock holder replaces one small file


def edit_file(path: Path, edit: Callable[[bytes], bytes | None]) -> None:
    """Replace the content of a file by `edit(content)`, atomically and under an exclusive lock.

    `edit` is given b"" if the file does not exist, and returns None to change nothing. Mode and
    owner are kept; a new file is readable by the folder's owner alone. Raises OSError, and what
    `edit` raises.
    """
    with _locked(path.parent) as folder:
        content, replaced = _read(folder, path.name)
        changed = edit(content)
        if changed is not None:
            _replace(folder, path.name, changed, replaced)


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Hold an exclusive lock on a folder, and yield its descriptor.

    Every user that can read the folder can lock it, so the wait is limited: raises TimeoutError.
    """
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        wait_for_lock(folder, fcntl.LOCK_EX, str(path), PATIENCE)
        yield folder
    finally:
        os.close(folder)


def _read(folder: int, name: str) -> tuple[bytes, os.stat_result | None]:
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, dir_fd=folder)
    except FileNotFoundError:
        return b"", None
    with open(fd, "rb") as file:
        stat_result = os.fstat(fd)
        if not stat.S_ISREG(stat_result.st_mode):
            raise OSError(f"{name} is not a regular file")
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise OSError(f"{name} is larger than 16 MiB")
    return content, stat_result


def _replace(folder: int, name: str, content: bytes, replaced: os.stat_result | None) -> None:
    temporary = f".{name}.{uuid.uuid4().hex}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(temporary, flags, 0o600, dir_fd=folder)
    try:
        with open(fd, "wb") as file:
            file.write(content)
            file.flush()
            _set_owner_and_mode(fd, replaced or os.fstat(folder), is_new=replaced is None)
            os.fsync(fd)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(temporary, dir_fd=folder)
        raise
    os.fsync(folder)


def _set_owner_and_mode(fd: int, model: os.stat_result, *, is_new: bool) -> None:
    """Give a file the owner and the mode of the file it replaces.

    A new file belongs to the process that creates it; but if that is root, to the folder's owner,
    because the server runs as that user.
    """
    if (not is_new or os.geteuid() == 0) and _owner(os.fstat(fd)) != _owner(model):
        os.fchown(fd, *_owner(model))
    os.fchmod(fd, 0o600 if is_new else stat.S_IMODE(model.st_mode))


def _owner(stat_result: os.stat_result) -> tuple[int, int]:
    return stat_result.st_uid, stat_result.st_gid


def make_folder(path: Path) -> None:
    """Create the folder for such a file unless it exists; its parent must exist."""
    parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.mkdir(path.name, 0o700, dir_fd=parent)
        if os.geteuid() == 0:
            os.chown(path.name, *_owner(os.fstat(parent)), dir_fd=parent, follow_symlinks=False)
        os.fsync(parent)
    except FileExistsError:
        pass
    finally:
        os.close(parent)
