"""CPU time and memory of a process and all its descendants, as the kernel counts them.

A server is measured as a whole: supervisor, workers and helpers. The CPU time of a running process
is read from its CPU clock, in nanoseconds; that of its reaped children from `/proc`, in ticks of 10
ms.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
KIB = 1024
_SCHEDULED = 2


@dataclass(frozen=True, slots=True)
class Process:
    """One process: its parent, and the CPU seconds of itself and of its reaped children."""

    pid: int
    parent: int
    own_seconds: float
    reaped_seconds: float


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of memory of one process.

    `resident` counts shared pages in full, `peak` is the highest `resident` so far, and
    `proportional` divides shared pages among the processes, so it can be summed over a tree.
    """

    resident: int
    peak: int
    proportional: int


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes resident now: all, and those not backed by a file (heap, stacks, buffers)."""

    resident: int
    anonymous: int


def parse_stat(text: str) -> Process:
    """Parse the content of `/proc/PID/stat` (proc(5))."""
    # The second field is the command in parentheses, which may contain spaces and parentheses.
    before, _, after = text.rpartition(")")
    fields = after.split()
    user, system, reaped_user, reaped_system = (
        int(field) / TICKS_PER_SECOND for field in fields[11:15]
    )
    pid, parent = int(before.split(" ", 1)[0]), int(fields[1])
    return Process(pid, parent, user + system, reaped_user + reaped_system)


def parse_sizes(text: str) -> dict[str, int]:
    """Parse the `Name:  123 kB` lines of `status` or `smaps_rollup` into bytes by name."""
    lines = (line.split() for line in text.splitlines() if line.endswith(" kB"))
    return {fields[0].rstrip(":"): int(fields[-2]) * KIB for fields in lines}


def _processes(proc: Path) -> Iterator[Process]:
    for folder in proc.iterdir():
        if folder.name.isdigit():
            try:
                yield parse_stat((folder / "stat").read_text())
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has exited meanwhile


def tree(root: int, proc: Path = PROC) -> list[Process]:
    """Return `root` and its running descendants, parents first; empty if `root` has exited."""
    running = list(_processes(proc))
    family = [process for process in running if process.pid == root]
    for process in family:  # the list grows during the iteration
        family.extend(child for child in running if child.parent == process.pid)
    return family


def cpu_seconds(root: int) -> float:
    """Return the CPU seconds that `root` and its descendants have used so far."""
    return sum(_clock(process) + process.reaped_seconds for process in tree(root))


def _clock(process: Process) -> float:
    """Return the CPU seconds of a process by its clock, which includes ended threads."""
    # The standard library lacks clock_getcpuclockid(3); this is Linux's formula.
    clock = (~process.pid << 3) | _SCHEDULED
    try:
        return time.clock_gettime(clock)
    except OSError:
        return process.own_seconds  # it has exited meanwhile


def memory(pid: int, proc: Path = PROC) -> Memory:
    """Return the memory of one process."""
    status = parse_sizes((proc / str(pid) / "status").read_text())
    shares = parse_sizes((proc / str(pid) / "smaps_rollup").read_text())
    return Memory(status["VmRSS"], status["VmHWM"], shares["Pss"])


def held(pid: int, proc: Path = PROC) -> Held:
    """Return the memory of one process now; cheap enough for ten calls a second."""
    status = parse_sizes((proc / str(pid) / "status").read_text())
    return Held(status["VmRSS"], status["RssAnon"])


def peak(pid: int, proc: Path = PROC) -> int:
    """Return the peak memory of one process in bytes; raise KeyError once it has exited."""
    return parse_sizes((proc / str(pid) / "status").read_text())["VmHWM"]
