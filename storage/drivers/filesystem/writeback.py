"""Asks the kernel to write dirty pages while an upload continues, so that its fsync is short.

`sync_file_range` only starts the writing: neither the bytes nor the length of the file are durable
before an fsync. Where the call does not exist nothing happens.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any

_START = 2  # SYNC_FILE_RANGE_WRITE


def start(fd: int, offset: int, length: int) -> None:
    """Start the writeback of a part of a file; blocks while the disk's queue is full."""
    call = _call()
    if call is not None:
        call(fd, ctypes.c_int64(offset), ctypes.c_int64(length), _START)


@lru_cache(maxsize=1)
def _call() -> Any:
    return getattr(ctypes.CDLL(None, use_errno=True), "sync_file_range", None)
