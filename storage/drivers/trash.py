"""Out of sight in one instant: what is removed is renamed into a folder, however much it is.

Emptying it there takes its time and is nobody's concern; a server that starts does what is left.
"""

from __future__ import annotations

import errno
import os
import uuid

from storage.drivers import modes
from storage.drivers.posix import discard_folder, is_there
from storage.paths import temporary

# A server that starts may sweep the trash away at any point, and a writer on its way in may add to
# what was moved there.
_ATTEMPTS = 16
# The tree is spread over several filesystems, or the disk is so full that no entry can be added.
NO_WAY_THERE = frozenset({errno.EXDEV, errno.ENOSPC, errno.EDQUOT})


def move_aside(path: str, trash: str) -> str | None:
    """Move a file or folder into `trash`; return where it is now, None when there was none.

    Raises OSError when that is not possible, because the two lie on different filesystems (EXDEV)
    or no entry can be added (ENOSPC, EDQUOT).
    """
    aside = f"{trash}/{uuid.uuid4().hex}"
    for attempt in range(_ATTEMPTS):
        try:
            os.rename(path, aside)
        except (FileNotFoundError, NotADirectoryError):
            if not is_there(path):
                return None
            if attempt == _ATTEMPTS - 1:
                raise
            os.makedirs(trash, modes.PRIVATE_FOLDER, exist_ok=True)
        else:
            break
    return aside


def hide(path: str, trash: str) -> str | None:
    """Do as `move_aside`; where that is not possible rename it, to what is nobody's name."""
    try:
        return move_aside(path, trash)
    except OSError as error:
        if error.errno not in NO_WAY_THERE:
            raise
    aside = f"{os.path.dirname(path)}/{temporary()}"
    os.rename(path, aside)
    return aside


def empty_out(folder: str) -> None:
    """Remove a folder that was moved, as far as that is possible."""
    for _ in range(_ATTEMPTS):
        if discard_folder(folder) or not os.path.lexists(folder):
            return
