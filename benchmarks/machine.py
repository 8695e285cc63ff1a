"""Facts about the machine, without which a figure means nothing."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from benchmarks.metering import own_cpu
from benchmarks.proc import PROC, TICKS_PER_SECOND


def facts(folder: Path) -> dict[str, str]:
    """Return the CPU, kernel, Python and the filesystem that holds `folder`."""
    return {
        "cpu": cpu_model((PROC / "cpuinfo").read_text()),
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "memory": (PROC / "meminfo").read_text().splitlines()[0].partition(":")[2].strip(),
        "filesystem": filesystem(folder.resolve(), (PROC / "mounts").read_text()),
    }


def cpu_model(cpuinfo: str) -> str:
    """Return the first model name of `/proc/cpuinfo`."""
    for line in cpuinfo.splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def filesystem(folder: Path, mounts: str) -> str:
    """Return the type of the filesystem an absolute `folder` is on, from `/proc/mounts`."""
    best, kind = Path("/"), "unknown"
    for line in mounts.splitlines():
        point, mounted = (Path(line.split()[1]), line.split()[2])
        if folder.is_relative_to(point) and len(point.parts) >= len(best.parts):
            best, kind = point, mounted
    return kind


@dataclass(frozen=True, slots=True)
class Activity:
    """CPU seconds since boot: total, busy, stolen, and our own.

    Stolen time is what the hypervisor gave to other machines (proc(5)). Our own is that of this
    process and its reaped children; between measurements these include the servers.
    """

    total: float
    busy: float
    stolen: float
    own: float

    @classmethod
    def now(cls) -> Self:
        """Read the counters."""
        return cls.of((PROC / "stat").read_text(), own_cpu())

    @classmethod
    def of(cls, stat: str, own: float) -> Self:
        """Parse the first line of `/proc/stat`."""
        ticks = [int(field) / TICKS_PER_SECOND for field in stat.splitlines()[0].split()[1:9]]
        user, nice, system, idle, waiting, hard, soft, stolen = ticks
        busy = user + nice + system + hard + soft
        return cls(busy + idle + waiting + stolen, busy, stolen, own)


@dataclass(frozen=True, slots=True)
class Company:
    """The shares of the machine's CPU time used by other processes and stolen by the host."""

    others: float
    stolen: float

    @classmethod
    def between(cls, first: Activity, second: Activity) -> Self:
        """Compare two moments; `others` includes the kernel's work, such as writing to disk."""
        total = max(second.total - first.total, 1 / TICKS_PER_SECOND)
        busy, own = second.busy - first.busy, second.own - first.own
        return cls(max(0.0, busy - own) / total, (second.stolen - first.stolen) / total)

    def __str__(self) -> str:
        return f"{self.others:.0%} (and {self.stolen:.0%} stolen by the host)"
