"""The modes of files and folders: which of them other users of the machine may open.

Images have the modes that distribution gives them, because other programs read them: nginx sends
blobs, a backup copies the tree. Locks, upload sessions, the trash and the quarantine are closed to
other users, and not only for secrecy: a user that can open a file can lock it, and a lock on the
tree blocks every push. The umask decides about the group.

A temporary file has the mode of the file that it will replace.
"""

from __future__ import annotations

import contextlib
import os
import stat

from storage.values.paths import OURS, TRASH, UPLOADS

PRIVATE_FOLDER = 0o770
PRIVATE_FILE = 0o660
PUBLIC_FOLDER = 0o755


def of_folder(below: str) -> int:
    """Return the mode of a new folder; `below` is its path, relative to the root."""
    first, *others = below.split("/")
    return PRIVATE_FOLDER if first in (OURS, TRASH) or UPLOADS in others else PUBLIC_FOLDER


def close_to_others(path: str) -> None:
    """Remove the permissions of other users, which older versions set, if we own the path."""
    mode = stat.S_IMODE(os.stat(path).st_mode)  # a folder may be a symbolic link to another disk
    if mode & stat.S_IRWXO:
        with contextlib.suppress(PermissionError):
            os.chmod(path, mode & ~stat.S_IRWXO)
