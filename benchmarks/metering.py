"""Measures wall-clock time, the server's CPU, and the client's own CPU."""

import resource
import time
from dataclasses import dataclass
from typing import Self

from benchmarks.proc import cpu_seconds

WHOSE = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


@dataclass(frozen=True, slots=True)
class Used:
    """Seconds of wall-clock time, of the server's CPU, and of the client's CPU."""

    seconds: float
    server: float
    client: float

    @property
    def client_share(self) -> float:
        """The client's share of the CPU that both used."""
        both = self.server + self.client
        return self.client / both if both else 0.0


@dataclass(frozen=True, slots=True)
class Meter:
    """The start of a measurement."""

    pid: int
    begin: float
    server: float
    client: float

    @classmethod
    def start(cls, pid: int) -> Self:
        """Start to measure the server `pid` with its descendants, and this process."""
        return cls(pid, time.perf_counter(), cpu_seconds(pid), own_cpu())

    def stop(self) -> Used:
        """Return what was used since the start; a load generator counts once it has exited."""
        seconds = time.perf_counter() - self.begin
        server = cpu_seconds(self.pid) - self.server
        return Used(seconds, server, own_cpu() - self.client)


def own_cpu() -> float:
    """Return the CPU seconds of this process and of its reaped children."""
    usages = [resource.getrusage(who) for who in WHOSE]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
