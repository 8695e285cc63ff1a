"""The default number of workers: what this machine, or this container, has CPU and memory for.

The limits of a container are files of its cgroup: in one folder for version 2, in a folder for each
controller for version 1. The limits of a folder hold for all folders below it. The folder of a
container is often mounted in place of the root.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MOST_WORKERS = 4

# Without access rules one worker alone needs 38 MiB, and 50 once it has reloaded its configuration.
# A supervisor and each further worker need 8, each push in flight a few.
BYTES_FOR_A_WORKER = 64 << 20

_GROUPS = Path("/proc/self/cgroup")
_MOUNTED = Path("/sys/fs/cgroup")
_UNIFIED = ""


def default_workers(groups: Path = _GROUPS, mounted: Path = _MOUNTED) -> int:
    """Return one worker for each core, at most MOST_WORKERS, fewer where the cgroup allows less."""
    limits: list[float] = [MOST_WORKERS, cores()]
    for folder in _folders(groups, mounted):
        limits += [math.ceil(quota) for quota in _cpu_quotas(folder)]
        limits += [limit // BYTES_FOR_A_WORKER for limit in _memory_limits(folder)]
    return max(1, int(min(limits)))


def cores() -> int:
    """Count the processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _folders(groups: Path, mounted: Path) -> Iterator[Path]:
    """Yield every folder whose limits may hold for this process."""
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
    """Yield the cores that a folder allows; `max`, -1 or no file is no limit."""
    both = _words(folder / "cpu.max")
    quota = both[:1] or _words(folder / "cpu.cfs_quota_us")
    period = both[1:] or _words(folder / "cpu.cfs_period_us")
    with suppress(ValueError, IndexError, ZeroDivisionError):
        if int(quota[0]) > 0:
            yield int(quota[0]) / int(period[0])


def _memory_limits(folder: Path) -> Iterator[int]:
    """Yield the memory that a folder allows; version 1 writes no limit as a very large number."""
    words = _words(folder / "memory.max") or _words(folder / "memory.limit_in_bytes")
    with suppress(ValueError, IndexError):
        yield int(words[0])


def _words(file: Path) -> list[str]:
    with suppress(OSError, UnicodeError):
        return file.read_text().split()
    return []


# Computed once: settings are also built by a reload, while requests are served, and reading a file
# would block these.
WORKERS = default_workers()
