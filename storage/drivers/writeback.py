"""Having the kernel write what is dirty while more arrives, so that the fsync at the end is short.

`sync_file_range` starts the writing and promises nothing: not that it is done, nor that the file's
length is on disk. That stays the fsync's business. Where the call does not exist nothing happens.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any

_START = 2  # SYNC_FILE_RANGE_WRITE


def start(fd: int, offset: int, length: int) -> None:
    """Have the kernel begin to write a part of a file; blocks while the disk's queue is full."""
    call = _call()
    if call is not None:
        call(fd, ctypes.c_int64(offset), ctypes.c_int64(length), _START)


@lru_cache(maxsize=1)
def _call() -> Any:
    return getattr(ctypes.CDLL(None, use_errno=True), "sync_file_range", None)
