"""Processes that tests start, with all their children: none outlives its test."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil

START_SECONDS = 40.0
STOP_SECONDS = 30.0
KILL_SECONDS = 30.0
# Kernels without CONFIG_PROC_CHILDREN have no such file.
_LISTS_CHILDREN = Path(f"/proc/self/task/{os.getpid()}/children").exists()


class Daemon:
    """A background program: ready when its log says so, stopped with all its children."""

    def __init__(self, command: Sequence[str], log: Path, ready: bytes) -> None:
        self._command = list(command)
        self._log = log
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it and wait until `ready` stands in its log."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while self._ready not in self._log.read_bytes():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                log_end = self._log.read_text(errors="replace")[-4000:]
                raise AssertionError(f"{self._command} did not start:\n{log_end}")
            time.sleep(0.05)
        return self

    @property
    def pid(self) -> int:
        """Return its id."""
        assert self._process is not None, "not started"
        return self._process.pid

    def stop(self) -> None:
        """Ask for its end, then kill whatever of it still runs."""
        process = self._process
        assert process is not None, "not started"
        members = family(process.pid)
        process.terminate()
        psutil.wait_procs(members, timeout=STOP_SECONDS)
        kill_all(members)
        process.wait(STOP_SECONDS)


def free_port() -> int:
    """Return a free port that Linux does not choose by itself for a connection or a listener.

    A port that Linux chose and released may be in use again before the server listens on it.
    """
    while True:
        port = random.SystemRandom().randrange(10_240, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
        return port


def descendants() -> frozenset[int]:
    """Return the ids of all processes below this one, zombies included.

    The kernel's lists take 15 us, and psutil's look at every process of the machine 3 ms.
    """
    if not _LISTS_CHILDREN:
        return frozenset(child.pid for child in psutil.Process().children(recursive=True))
    return frozenset(_below(os.getpid()))


def _below(pid: int) -> Iterator[int]:
    for thread in _listed(f"/proc/{pid}/task"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            for child in Path(f"/proc/{pid}/task/{thread}/children").read_text().split():
                yield int(child)
                yield from _below(int(child))


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def family(pid: int) -> list[psutil.Process]:
    """Return a process and all its descendants; nothing if it has ended."""
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def kill_all(members: Sequence[psutil.Process]) -> list[str]:
    """Kill the processes that still run and wait for their end; return them."""
    alive = [member for member in members if _runs(member)]
    for member in alive:
        member.kill()
    psutil.wait_procs(alive, timeout=KILL_SECONDS)
    return [str(member) for member in alive]


def unmount_below(folder: Path) -> None:
    """Unmount whatever is mounted at or below a folder, the innermost first."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for mount in reversed(mounts):
        if Path(mount).is_relative_to(folder):
            subprocess.run(["umount", mount], check=True, stdin=subprocess.DEVNULL)


def _runs(member: psutil.Process) -> bool:
    try:
        return member.is_running() and member.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
