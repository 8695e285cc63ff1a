"""Which files other users of the machine may open.

Images have the modes that distribution gives them, because other programs read them: nginx sends
blobs, a backup copies the tree. Work in progress is closed to others: locks, upload sessions, what
was removed, what a scrub found. That is not for secrecy alone. Whoever can open a file for reading
can lock it, and who locks the tree stops every push. The umask decides about the group.

A file that is written beside the one it will replace has the mode of that one.
"""

from __future__ import annotations

import contextlib
import os
import stat

from storage.paths import OURS, TRASH, UPLOADS

PRIVATE_FOLDER = 0o770
PRIVATE_FILE = 0o660
_PUBLIC_FOLDER = 0o755


def of_folder(below: str) -> int:
    """Return the mode to make a folder with; `below` is its path, relative to the root."""
    first, *others = below.split("/")
    return PRIVATE_FOLDER if first in (OURS, TRASH) or UPLOADS in others else _PUBLIC_FOLDER


def close_to_others(path: str) -> None:
    """Take all permissions of other users from what an older version made, if it is ours."""
    mode = stat.S_IMODE(os.stat(path).st_mode)  # a folder may be a link to another disk
    if mode & stat.S_IRWXO:
        with contextlib.suppress(PermissionError):
            os.chmod(path, mode & ~stat.S_IRWXO)
