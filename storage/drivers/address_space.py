"""How many threads an address space has room for, where the system limits it (`ulimit -v`).

Each thread reserves a stack, and the C library reserves a heap for each of the first threads.
Without a limit that costs nothing. With one, nothing would be left for what requests allocate.
"""

from __future__ import annotations

import ctypes
import mmap
import resource
from contextlib import suppress
from pathlib import Path

_STACK = 8 << 20  # bytes; the usual default
_SHARE = 4  # one pool of threads takes a quarter of what is left
_M_ARENA_MAX = -8  # malloc.h of glibc


def room_for_threads(wanted: int) -> int:
    """Return how many of the wanted threads fit into the address space; at least one."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return wanted
    _share_heap()
    left = limit - _used()
    return max(1, min(wanted, left // _SHARE // _STACK))


def _used() -> int:
    """Return the bytes of address space that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE


def _share_heap() -> None:
    """Have the threads that are made from now on share the main heap, if the C library can."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
