"""The number of threads that fit into a limited address space (`ulimit -v`).

Each thread reserves a stack, and the C library reserves a heap for each of the first threads.
Without a limit that costs nothing. With one, it would leave no room for what requests allocate.
"""

from __future__ import annotations

import ctypes
import mmap
import resource
from contextlib import suppress
from pathlib import Path

_STACK = 8 << 20  # bytes; the usual default
_SHARE = 4  # a thread pool may use a quarter of the rest
_M_ARENA_MAX = -8  # malloc.h of glibc


def room_for_threads(wanted: int) -> int:
    """Return how many of the wanted threads fit into the address space, at least one."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return wanted
    _share_heap()
    left = limit - _used()
    return max(1, min(wanted, left // _SHARE // _STACK))


def _used() -> int:
    """Return the bytes of address space that this process uses."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE


def _share_heap() -> None:
    """Make all new threads share the main heap, if the C library supports it."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
