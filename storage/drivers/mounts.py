"""What kind of filesystem a folder lies on, which Python does not tell."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

# The magic numbers of statfs(2) for ext2 to ext4, XFS, Btrfs and tmpfs. Each is written by one
# kernel alone, which keeps the times of folders and stamps them with its own clock. A filesystem
# in user space or one of a network may do neither.
LOCAL = frozenset({0xEF53, 0x58465342, 0x9123683E, 0x01021994})

# A `struct statfs` is smaller everywhere; its first word is the kind.
_ENOUGH = 512
_WORD = 4


def is_local(fd: int) -> bool:
    """Whether an open file or folder is on a filesystem of `LOCAL`; False where none can tell."""
    library = _library()
    answer = ctypes.create_string_buffer(_ENOUGH)
    if library is None or library.fstatfs(fd, answer) != 0:
        return False
    return int.from_bytes(answer.raw[:_WORD], sys.byteorder) in LOCAL


@cache
def _library() -> ctypes.CDLL | None:
    """Open what Python is linked with, on Linux, where the answer is laid out in this way."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "fstatfs") else None
