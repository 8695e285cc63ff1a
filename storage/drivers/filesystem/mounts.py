"""Whether a folder is on a local filesystem, for which Python has no call."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

# The magic numbers of statfs(2) for ext2 to ext4, XFS, Btrfs and tmpfs. Only one kernel writes to
# each of them, and it updates the times of folders by its own clock. FUSE and network filesystems
# may do neither.
LOCAL = frozenset({0xEF53, 0x58465342, 0x9123683E, 0x01021994})

# A `struct statfs` is smaller everywhere; its first word is the magic number.
_ENOUGH = 512
_WORD = 4


def is_local(fd: int) -> bool:
    """Return whether an open file or folder is on a filesystem of `LOCAL`; False if unknown."""
    library = _library()
    buffer = ctypes.create_string_buffer(_ENOUGH)
    if library is None or library.fstatfs(fd, buffer) != 0:
        return False
    return int.from_bytes(buffer.raw[:_WORD], sys.byteorder) in LOCAL


@cache
def _library() -> ctypes.CDLL | None:
    """Open the C library; None outside Linux, where `struct statfs` has other fields."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "fstatfs") else None
