"""A small file that is changed while others read it: as a whole, in one instant, and durably.

Whoever changes it holds its folder, so that several processes lose nothing of each other's; that
leaves no lock file behind. `watched` is the other side.
"""

from __future__ import annotations

import fcntl
import os
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from storage.drivers.lock_files import wait_for_lock

_LARGEST = 16 << 20
# Seconds. A holder replaces one small file.
PATIENCE = 10.0


def edit_file(path: Path, edit: Callable[[bytes], bytes | None]) -> None:
    """Replace a file by what `edit` makes of it, in one instant, one caller after the other.

    `edit` gets nothing when there is no file, and leaves all as it is by returning None. Mode and
    owner are kept; a new file can be read by the folder's owner alone. Raises OSError, and what
    `edit` raises.
    """
    with _locked(path.parent) as folder:
        content, found = _read(folder, path.name)
        changed = edit(content)
        if changed is not None:
            _replace(folder, path.name, changed, found)


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Lock a folder exclusively: no lock file is left beside what it guards.

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
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(f"{name} is not a file")
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise OSError(f"{name} is larger than 16 MiB")
    return content, found


def _replace(folder: int, name: str, content: bytes, found: os.stat_result | None) -> None:
    temporary = f".{name}.{uuid.uuid4().hex}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(temporary, flags, 0o600, dir_fd=folder)
    try:
        with open(fd, "wb") as file:
            file.write(content)
            file.flush()
            _give(fd, found or os.fstat(folder), is_new=found is None)
            os.fsync(fd)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(temporary, dir_fd=folder)
        raise
    os.fsync(folder)


def _give(fd: int, owner: os.stat_result, *, is_new: bool) -> None:
    """Give a file the owner and the mode of the one it replaces.

    A new one is its maker's own, unless that is root: then it is the folder's owner who serves.
    """
    ours = os.fstat(fd)
    if (not is_new or os.geteuid() == 0) and _owner(ours) != _owner(owner):
        os.fchown(fd, *_owner(owner))
    os.fchmod(fd, 0o600 if is_new else stat.S_IMODE(owner.st_mode))


def _owner(found: os.stat_result) -> tuple[int, int]:
    return found.st_uid, found.st_gid


def make_folder(path: Path) -> None:
    """Make the folder of such a file if it is not there; what it is in exists."""
    above = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.mkdir(path.name, 0o700, dir_fd=above)
        if os.geteuid() == 0:
            os.chown(path.name, *_owner(os.fstat(above)), dir_fd=above, follow_symlinks=False)
        os.fsync(above)
    except FileExistsError:
        pass
    finally:
        os.close(above)
