"""A folder for trees that are created by the thousand.

In memory if possible: a disk's filesystem skips inodes that were freed a moment ago, and takes ten
times as long to create a tree again.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_IN_MEMORY = "/dev/shm"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield an empty folder, and remove it."""
    usable = os.access(_IN_MEMORY, os.W_OK | os.X_OK)
    with tempfile.TemporaryDirectory(prefix="rt-", dir=_IN_MEMORY if usable else None) as made:
        yield Path(made)
