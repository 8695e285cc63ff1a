"""The root folder as this process finds it: what it is, and what it holds.

Every message names the folder, the reason, and the command or key that helps. Nothing here writes,
except for `removed_on_failure`.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from storage.errors import reason_of
from storage.paths import OURS, ROOT

_KEY = "storage.filesystem.rootdirectory or --root"


class VolumeUnusable(Exception):
    """The root folder cannot be used; the message says why, and what helps, in one line."""


def check_folder(root: Path) -> None:
    """Make sure that `root` is a folder that can be listed; raise `VolumeUnusable`."""
    try:
        found = root.stat()
        if stat.S_ISDIR(found.st_mode):
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
            f"the root directory {root} can't be read: {ownership(root)}"
        ) from None
    except OSError as error:
        reason = reason_of(error)
        raise VolumeUnusable(f"the root directory {root} can't be used: {reason}") from None
    raise VolumeUnusable(_is_no_folder(root, root))


def check_registry(root: Path) -> None:
    """Make sure that `root` holds a registry; raise `VolumeUnusable`.

    It does when the tree that CNCF distribution and this registry share is there, or when a server
    of ours has started on it and nothing was pushed yet. A folder that is named by mistake, or a
    volume that is not mounted, has neither.
    """
    try:
        if any((root / path).is_dir() for path in (ROOT, OURS)):
            return
    except PermissionError:
        reason = ownership(root)
        raise VolumeUnusable(f"{root / ROOT} can't be looked for: {reason}") from None
    raise VolumeUnusable(
        f"{root} holds no registry: {ROOT} is not there; mount the volume, or correct {_KEY}"
    )


def ownership(path: Path) -> str:
    """Say which user owns what denies access, which user asks, and what helps.

    `path` may lie below a folder that cannot be entered: the owner of that folder counts.
    """
    user, group = os.geteuid(), os.getegid()
    at, found = _visible(path)
    return (
        f"{at} belongs to uid {found.st_uid} and has mode {stat.S_IMODE(found.st_mode):04o}, and "
        f"this process runs as uid {user}; run it as that user (docker run --user "
        f"{found.st_uid}:{found.st_gid}), or change the owner: chown -R {user}:{group} {path}"
    )


@contextlib.contextmanager
def removed_on_failure(root: Path) -> Iterator[None]:
    """Remove `root` when the block raises, if the block made it and left it empty."""
    was_there = root.exists()
    try:
        yield
    except BaseException:
        if not was_there:
            with contextlib.suppress(OSError):
                root.rmdir()
        raise


def _is_no_folder(path: Path, root: Path) -> str:
    where = "" if path == root else f", which is above the root directory {root}"
    return f"{path}{where} is a file and not a folder; correct {_KEY}"


def _nearest(path: Path) -> Path:
    """Return what exists of `path`: itself, or the nearest above it."""
    return next((at for at in (path, *path.parents) if os.path.lexists(at)), path)


def _visible(path: Path) -> tuple[Path, os.stat_result]:
    """Return `path` or the nearest above it that can be looked at, and what it is."""
    for at in (path, *path.absolute().parents):
        with contextlib.suppress(OSError):
            return at, at.stat()
    raise AssertionError("the root of the filesystem can always be looked at")
