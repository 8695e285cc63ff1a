"""CPU time and memory of a process and all its descendants, as the kernel counts them.

A server is measured as a whole: its parent, its workers and its helpers. What a living process
has used comes from its CPU clock, in nanoseconds; what its reaped children had used comes from
`/proc`, in ticks of 10 ms.
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
    `proportional` divides shared pages among their users, so it can be summed over a tree.
    """

    resident: int
    peak: int
    proportional: int


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes resident now: everything, and what no file is behind (heap, stacks, buffers)."""

    resident: int
    anonymous: int


def parse_stat(text: str) -> Process:
    """Parse the content of `/proc/PID/stat` (proc(5))."""
    # The second field is the command in parentheses and may itself hold spaces and parentheses.
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
                continue  # it ended while we looked


def tree(root: int, proc: Path = PROC) -> list[Process]:
    """Return the process `root` and its living descendants, parents first; empty if it is gone."""
    everyone = list(_processes(proc))
    found = [process for process in everyone if process.pid == root]
    for process in found:  # grows while it is walked
        found.extend(child for child in everyone if child.parent == process.pid)
    return found


def cpu_seconds(root: int) -> float:
    """Return the CPU seconds that `root` and its descendants have used so far."""
    return sum(_clock(process) + process.reaped_seconds for process in tree(root))


def _clock(process: Process) -> float:
    """Return the CPU seconds of a process by its clock, which counts ended threads too."""
    # clock_getcpuclockid(3) is not in the standard library; this is what Linux makes of a pid.
    clock = (~process.pid << 3) | _SCHEDULED
    try:
        return time.clock_gettime(clock)
    except OSError:
        return process.own_seconds  # it ended while we looked


def memory(pid: int, proc: Path = PROC) -> Memory:
    """Return the memory of one process."""
    status = parse_sizes((proc / str(pid) / "status").read_text())
    shares = parse_sizes((proc / str(pid) / "smaps_rollup").read_text())
    return Memory(status["VmRSS"], status["VmHWM"], shares["Pss"])


def held(pid: int, proc: Path = PROC) -> Held:
    """Return what one process holds now; cheap enough to ask for ten times a second."""
    status = parse_sizes((proc / str(pid) / "status").read_text())
    return Held(status["VmRSS"], status["RssAnon"])


def peak(pid: int, proc: Path = PROC) -> int:
    """Return the most bytes that one process ever held; raise KeyError once it has ended."""
    return parse_sizes((proc / str(pid) / "status").read_text())["VmHWM"]
