"""Folders in memory, for thousands of short-lived trees.

On a disk each fsync takes milliseconds, and a new tree takes ten times as long: the disk's
filesystem passes over what was deleted a moment ago.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

_MEMORY = "/dev/shm"


def in_memory(needed: int = 0) -> str | None:
    """Return a folder in memory, or None where there is none with `needed` bytes to spare."""
    if not os.access(_MEMORY, os.W_OK | os.X_OK):
        return None
    found = os.statvfs(_MEMORY)
    # Its files take memory that programs need, too.
    spare = min(found.f_bavail * found.f_frsize, psutil.virtual_memory().available // 2)
    return _MEMORY if spare >= needed else None


@contextmanager
def scratch_folder(needed: int = 0) -> Iterator[Path]:
    """Give an empty folder, in memory if possible, and remove it with all in it."""
    with tempfile.TemporaryDirectory(prefix="rt-", dir=in_memory(needed)) as made:
        yield Path(made)
