"""A folder for trees that come and go by the thousand.

In memory where there is such a filesystem: a disk's passes over what was deleted a moment ago, and
takes ten times as long to make a tree anew.
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
    """Give an empty folder, and remove it with all in it."""
    usable = os.access(_IN_MEMORY, os.W_OK | os.X_OK)
    with tempfile.TemporaryDirectory(prefix="rt-", dir=_IN_MEMORY if usable else None) as made:
        yield Path(made)
