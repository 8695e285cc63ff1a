"""Which files other users of the machine may open.

Images have the modes that distribution gives them, because other programs read them: nginx sends
blobs, a backup copies the tree. Work in progress is closed to other users: locks, upload sessions,
the trash, the quarantine. Secrecy is not the only reason: a user that can open a file for reading
can lock it, and a lock on the tree stops every push. The umask decides about the group.

A temporary file has the mode of the file that it will replace.
"""

from __future__ import annotations

import contextlib
import os
import stat

from storage.paths import OURS, TRASH, UPLOADS

PRIVATE_FOLDER = 0o770
PRIVATE_FILE = 0o660
PUBLIC_FOLDER = 0o755


def of_folder(below: str) -> int:
    """Return the mode to make a folder with; `below` is its path, relative to the root."""
    first, *others = below.split("/")
    return PRIVATE_FOLDER if first in (OURS, TRASH) or UPLOADS in others else PUBLIC_FOLDER


def close_to_others(path: str) -> None:
    """Remove the permissions of other users from what an older version made, if we own it."""
    mode = stat.S_IMODE(os.stat(path).st_mode)  # a folder may be a symbolic link to another disk
    if mode & stat.S_IRWXO:
        with contextlib.suppress(PermissionError):
            os.chmod(path, mode & ~stat.S_IRWXO)
