"""The default number of workers, from the CPU and memory of this machine or container.

The limits of a container are files of its cgroup: in one folder for version 2, in a folder for each
controller for version 1. A folder's limits apply to all folders below it. In a container the root
is often the container's own folder.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MOST_WORKERS = 4

# Without access rules a single worker needs 38 MiB, and 50 MiB after it reloaded its configuration.
# The supervisor and each further worker need 8 MiB, and each push in flight a few.
BYTES_FOR_A_WORKER = 64 << 20

_GROUPS = Path("/proc/self/cgroup")
_MOUNTED = Path("/sys/fs/cgroup")
_UNIFIED = ""


def default_workers(groups: Path = _GROUPS, mounted: Path = _MOUNTED) -> int:
    """Return one worker per core, at most MOST_WORKERS, and no more than the cgroup allows."""
    limits: list[float] = [MOST_WORKERS, cores()]
    for folder in _folders(groups, mounted):
        limits += [math.ceil(quota) for quota in _cpu_quotas(folder)]
        limits += [limit // BYTES_FOR_A_WORKER for limit in _memory_limits(folder)]
    return max(1, int(min(limits)))


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _folders(groups: Path, mounted: Path) -> Iterator[Path]:
    """Yield every folder whose limits may apply to this process."""
    lines: list[str] = []
    with suppress(OSError):
        lines = groups.read_text(errors="surrogateescape").splitlines()
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            if controller not in (_UNIFIED, "cpu", "memory"):
                continue
            yield mounted / controller
            inside = Path(path.lstrip("/"))
            for part in (inside, *inside.parents):
                if ".." not in part.parts:
                    yield mounted / controller / part


def _cpu_quotas(folder: Path) -> Iterator[float]:
    """Yield the number of cores that a folder allows; `max`, -1 or a missing file is no limit."""
    both = _words(folder / "cpu.max")
    quota = both[:1] or _words(folder / "cpu.cfs_quota_us")
    period = both[1:] or _words(folder / "cpu.cfs_period_us")
    with suppress(ValueError, IndexError, ZeroDivisionError):
        if int(quota[0]) > 0:
            yield int(quota[0]) / int(period[0])


def _memory_limits(folder: Path) -> Iterator[int]:
    """Yield the bytes of memory that a folder allows; in version 1 a huge number is no limit."""
    words = _words(folder / "memory.max") or _words(folder / "memory.limit_in_bytes")
    with suppress(ValueError, IndexError):
        yield int(words[0])


def _words(file: Path) -> list[str]:
    with suppress(OSError, UnicodeError):
        return file.read_text().split()
    return []


# Computed once: a reload builds settings while requests are served, and reading these files would
# block the requests.
WORKERS = default_workers()
