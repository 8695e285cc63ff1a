"""Starts a server on a root, waits until it responds and is idle, and stops it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks import proc
from benchmarks.client import Connection, request_head
from benchmarks.errors import BenchmarkError
from benchmarks.interruption import held_back

START_SECONDS = 20.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.001
IDLE_SECONDS = 0.4
IDLE_CPU_SECONDS = 0.005
PROJECT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Side:
    """One server: its name in the table, and how to start it with a configuration file.

    `config` returns the content of that file for a root, a port, and a folder to write to.
    """

    name: str
    version: str
    command: Sequence[str]
    config: Callable[[Path, int, Path], str]
    arguments: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Server:
    """A running server that has responded."""

    pid: int
    port: int
    start_seconds: float

    def cpu_by_process(self) -> dict[int, float]:
        """Return the CPU seconds of each running process of the tree, by pid."""
        return {process.pid: process.own_seconds for process in proc.tree(self.pid)}

    def memory(self) -> list[proc.Memory]:
        """Return the memory of each process of the tree, the largest first."""
        memories = [proc.memory(process.pid) for process in proc.tree(self.pid)]
        return sorted(memories, key=lambda memory: memory.peak, reverse=True)

    def held(self) -> dict[int, proc.Held]:
        """Return the current memory of each process of the tree, by pid."""
        memories = {}
        for process in proc.tree(self.pid):
            with suppress(FileNotFoundError, ProcessLookupError, KeyError):  # it has exited
                memories[process.pid] = proc.held(process.pid)
        return memories


@contextmanager
def running(side: Side, root: Path, folder: Path) -> Iterator[Server]:
    """Serve `root` during the block; configuration and log are in `folder`.

    Raises `BenchmarkError` with the last line of the log if the server does not respond.
    """
    folder.mkdir(parents=True, exist_ok=True)
    root.mkdir(parents=True, exist_ok=True)
    port, config = _free_port(), folder / "config"
    config.write_text(side.config(root, port, folder))
    log = folder / "server.log"
    start = time.perf_counter()
    with ExitStack() as stack:
        with held_back():
            process = _start([*side.command, str(config), *side.arguments], log)
            stack.callback(_stop, process, side.name)
        _wait_for_answer(process, port, start + START_SECONDS, log)
        started = time.perf_counter() - start
        _wait_until_idle(process.pid)
        yield Server(process.pid, port, started)


def _start(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            cwd=PROJECT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C reaches only this process, which stops the server
        )


def environment() -> dict[str, str]:
    """Return this process's environment without the variables that configure a registry."""
    return {key: value for key, value in os.environ.items() if not key.startswith("REGISTRY_")}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for_answer(
    process: subprocess.Popen[bytes], port: int, deadline: float, log: Path
) -> None:
    while time.perf_counter() < deadline:
        if process.poll() is not None:
            said = log.read_text(errors="replace").split("\n")
            last = next((line for line in reversed(said) if line.strip()), "nothing in its log")
            raise BenchmarkError(f"the server exited with code {process.returncode}: {last}")
        try:
            with Connection(port, timeout=START_SECONDS) as connection:
                if connection.exchange(request_head("GET", "/v2/")).status in (200, 401):
                    return
        except (OSError, BenchmarkError):
            pass  # it does not listen yet, or is not ready
        time.sleep(POLL_SECONDS)
    raise BenchmarkError(f"the server did not answer within {START_SECONDS:.0f} s")


def _wait_until_idle(pid: int) -> None:
    """Wait until the server is idle: the first worker to start would get every connection."""
    deadline, before = time.perf_counter() + START_SECONDS, -1.0
    while time.perf_counter() < deadline:
        now = proc.cpu_seconds(pid)
        if now - before < IDLE_CPU_SECONDS:
            return
        before = now
        time.sleep(IDLE_SECONDS)


def _stop(process: subprocess.Popen[bytes], name: str) -> None:
    """Terminate the server, wait, and kill the rest of its session."""
    with held_back():
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            print(f"{name} did not stop within {STOP_SECONDS:.0f} s of SIGTERM", file=sys.stderr)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
