"""Checks of the root folder: whether it is a folder, contains a registry, is readable and writable.

Every message names the folder, the reason, and the command or key that solves the problem. Only
`probe` and `removed_on_failure` write, and they leave no file behind.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from storage.errors import DISK_FULL, reason_of
from storage.values.paths import BLOBS, GATE, OURS, REPOSITORIES, ROOT, TRASH, TREE

_KEY = "storage.filesystem.rootdirectory or --root"

# The folders that every push needs. Folders below them are not checked: there may be millions.
_READ = (BLOBS, REPOSITORIES)
_WRITTEN = ("", OURS, GATE, TREE, TRASH, *_READ)

# Check access for the effective user, if the system supports that.
_EFFECTIVE = os.access in os.supports_effective_ids
_REFUSED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


class VolumeUnusable(Exception):
    """The root folder cannot be used; the message says why and what to do, in one line."""


def check_folder(root: Path) -> None:
    """Raise `VolumeUnusable` unless `root` is a folder that can be listed."""
    try:
        if stat.S_ISDIR(root.stat().st_mode):
            os.scandir(root).close()
            return
    except (FileNotFoundError, NotADirectoryError):
        above = _nearest(root)
        if above.is_dir():
            raise VolumeUnusable(
                f"the root directory {root} does not exist; create it, mount it, or correct {_KEY}"
            ) from None
        raise VolumeUnusable(_is_no_folder(above, root)) from None
    except PermissionError:
        raise VolumeUnusable(
            f"the root directory {root} can't be read: {ownership(root, root)}"
        ) from None
    except OSError as error:
        reason = reason_of(error)
        raise VolumeUnusable(f"the root directory {root} can't be used: {reason}") from None
    raise VolumeUnusable(_is_no_folder(root, root))


def check_registry(root: Path) -> None:
    """Raise `VolumeUnusable` unless `root` contains a registry (`holds_registry`)."""
    try:
        if holds_registry(root):
            return
    except PermissionError:
        reason = ownership(root / ROOT, root)
        raise VolumeUnusable(f"{root / ROOT} can't be accessed: {reason}") from None
    raise VolumeUnusable(
        f"{root} holds no registry: {ROOT} is missing; mount the volume, or correct {_KEY}"
    )


def holds_registry(root: Path) -> bool:
    """Return whether `root` contains a registry; raise PermissionError when it can't be accessed.

    A registry has the tree that CNCF distribution and this registry share, or the `.registry` that
    this registry creates at its start, before the first push. A wrong folder, or a volume that is
    not mounted, has neither.
    """
    return any((root / path).is_dir() for path in (ROOT, OURS))


def why_read_only(root: Path) -> str | None:
    """Return why the registry in `root` is read-only; None when it is writable.

    Raises `VolumeUnusable` when it is not readable either, and OSError.
    """
    for path in (root / name for name in _READ):
        if _is_denied(path, os.R_OK):
            raise VolumeUnusable(f"{path} can't be read: {ownership(path, root)}")
    for path in (root / name for name in _WRITTEN):
        if _is_denied(path, os.W_OK):
            return _why_denied(path, root)
    return None


def probe(root: Path) -> str | None:
    """Return why no file can be created in `root`; None if one can, or if the disk is full.

    Creates a file and removes it, because a network filesystem may deny what the mode bits allow.
    Raises OSError for other errors.
    """
    try:
        with tempfile.TemporaryFile(dir=root):
            return None
    except OSError as error:
        # A full volume can serve pulls, and deletions and collections that free space.
        if error.errno in DISK_FULL:
            return None
        if error.errno not in _REFUSED:
            raise
    return _why_denied(root, root)


def ownership(path: Path, root: Path) -> str:
    """Describe the owner of a folder that denies access, the current user, and what to do.

    Names the nearest folder above `path` that can be examined.
    """
    user, group = os.geteuid(), os.getegid()
    at, status = _visible(path)
    return (
        f"{at} belongs to uid {status.st_uid} and has mode {stat.S_IMODE(status.st_mode):04o}, and "
        f"this process runs as uid {user}; run it as that user (docker run --user "
        f"{status.st_uid}:{status.st_gid}), or change the owner: chown -R {user}:{group} {root}"
    )


@contextlib.contextmanager
def removed_on_failure(root: Path | None) -> Iterator[None]:
    """Remove `root` when the block raises, if the block created it and it is empty."""
    was_there = root is None or root.exists()
    try:
        yield
    except BaseException:
        if root is not None and not was_there:
            with contextlib.suppress(OSError):
                root.rmdir()
        raise


def _is_denied(path: Path, mode: int) -> bool:
    """Return whether a file or folder exists and denies access by `mode`."""
    try:
        if path.is_dir():
            mode |= os.X_OK
        return path.exists() and not os.access(path, mode, effective_ids=_EFFECTIVE)
    except PermissionError:  # a folder above it denies access
        return True


def _why_denied(path: Path, root: Path) -> str:
    at, _ = _visible(path)
    if os.statvfs(at).f_flag & os.ST_RDONLY:
        return f"{at} is mounted read-only"
    return f"{path} can't be written: {ownership(path, root)}"


def _is_no_folder(path: Path, root: Path) -> str:
    where = "" if path == root else f", which is above the root directory {root}"
    return f"{path}{where} is not a folder; correct {_KEY}"


def _nearest(path: Path) -> Path:
    """Return `path`, or the nearest folder above it that exists."""
    return next((at for at in (path, *path.parents) if os.path.lexists(at)), path)


def _visible(path: Path) -> tuple[Path, os.stat_result]:
    """Return `path`, or the nearest folder above it that can be examined, and its status."""
    for at in (path, *path.absolute().parents):
        with contextlib.suppress(OSError):
            return at, at.stat()
    raise AssertionError("the root of the filesystem can always be examined")
