"""Out of sight in one instant: what is removed is renamed into a folder, however much it is.

Emptying it there takes its time and is nobody's concern; a server that starts does what is left.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid

from storage.drivers.posix import is_there

# A server that starts may sweep the trash away at any point, and a writer on its way in may add to
# what was moved there.
_ATTEMPTS = 16


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
            os.makedirs(trash, exist_ok=True)
        else:
            break
    return aside


def empty_out(folder: str) -> None:
    """Remove a folder that was moved, as far as that is possible."""
    for _ in range(_ATTEMPTS):
        with contextlib.suppress(OSError):  # some errors it does not ignore
            shutil.rmtree(folder, ignore_errors=True)
        if not os.path.lexists(folder):
            return
