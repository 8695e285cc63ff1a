"""Removing a folder tree atomically: it is renamed into the trash, and deleted there afterwards.

What a crash leaves in the trash is deleted when a server starts.
"""

from __future__ import annotations

import errno
import os
import uuid

from storage.drivers.filesystem import file_modes
from storage.drivers.filesystem.posix import discard_folder, path_exists
from storage.values.paths import temporary

# A server that starts may empty the trash at any point, and a writer that has opened a folder may
# still add to it after it was moved there.
_ATTEMPTS = 16
# The tree spans several filesystems, or the disk is too full for another directory entry.
CANNOT_RENAME = frozenset({errno.EXDEV, errno.ENOSPC, errno.EDQUOT})


def move_aside(path: str, trash: str) -> str | None:
    """Move a file or folder into `trash`; return its new path, None when it is missing.

    Raises OSError with an error number of `CANNOT_RENAME` when that is impossible.
    """
    aside = f"{trash}/{uuid.uuid4().hex}"
    for attempt in range(_ATTEMPTS):
        try:
            os.rename(path, aside)
        except (FileNotFoundError, NotADirectoryError):
            if not path_exists(path):
                return None
            if attempt == _ATTEMPTS - 1:
                raise
            os.makedirs(trash, file_modes.PRIVATE_FOLDER, exist_ok=True)
        else:
            break
    return aside


def hide(path: str, trash: str) -> str | None:
    """Move a file or folder into `trash`, or else to a temporary name in the same folder."""
    try:
        return move_aside(path, trash)
    except OSError as error:
        if error.errno not in CANNOT_RENAME:
            raise
    aside = f"{os.path.dirname(path)}/{temporary()}"
    os.rename(path, aside)
    return aside


def empty_out(folder: str) -> None:
    """Remove a folder that was moved aside, as far as possible."""
    for _ in range(_ATTEMPTS):
        if discard_folder(folder) or not os.path.lexists(folder):
            return
