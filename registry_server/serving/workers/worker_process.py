"""A worker as the supervisor sees it: a process, its channel and its heartbeat."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from registry_server.serving.workers import heartbeat
from registry_server.serving.workers.fork import fork
from registry_server.serving.workers.heartbeat import Heartbeat


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What a worker runs, and its drain timeout.

    `serve` gets the worker's end of the channel and its heartbeat. It sends a byte when it is
    ready, receives a byte when it may accept connections, and drains and returns when the channel
    ends. `drain_seconds` is the time limit for requests in flight.
    """

    serve: Callable[[socket.socket, Heartbeat], None]
    drain_seconds: float


class WorkerProcess:
    """One worker from its fork to its exit; `channel` is readable when its state changes.

    `now` is the supervisor's running time in seconds.
    """

    def __init__(self, spec: WorkerSpec, close_inherited: Callable[[], None], now: float) -> None:
        """Fork the process; raise OSError or MemoryError if that fails.

        In it, `close_inherited` closes the descriptors of the supervisor and of other workers.
        """
        self.is_ready = False
        self.is_killed = False
        self.has_failed = False
        self.deadline = math.inf
        self._alive_at = now
        self._forked = time.monotonic()
        self.channel, theirs = socket.socketpair()
        try:
            self._heartbeat = Heartbeat()
            self._beats = self._heartbeat.count
            self.pid = fork(partial(self._serve, spec, theirs, close_inherited))
        except (OSError, MemoryError):
            self.channel.close()
            raise
        finally:
            theirs.close()

    def _serve(
        self, spec: WorkerSpec, channel: socket.socket, close_inherited: Callable[[], None]
    ) -> None:
        """In the new process: close what only the supervisor needs, and serve.

        A copy of the supervisor's end of a channel would keep its worker from seeing the end.
        """
        close_inherited()
        self.channel.close()
        spec.serve(channel, self._heartbeat)

    @property
    def age(self) -> float:
        """Return the seconds since the fork."""
        return time.monotonic() - self._forked

    def reads_life_sign(self) -> bool:
        """Read from the channel; return False if the worker has exited."""
        try:
            lives = self.channel.recv(1) != b""
        except ConnectionError:
            return False
        self.is_ready |= lives
        return lives

    def reason_to_kill(self, now: float) -> str:
        """Return why SIGKILL is due: the worker is hung or past its deadline; "" if it is not."""
        if self.is_killed:
            return ""
        if self.deadline <= now:
            return "timed out while it drained"
        return f"has not responded for {heartbeat.HUNG_SECONDS:g}s" if self._is_hung(now) else ""

    def start(self) -> None:
        """Tell the worker, which is ready, to accept connections."""
        with contextlib.suppress(ConnectionError):
            self.channel.sendall(b"!")

    def drain(self, deadline: float) -> None:
        """Tell the worker to drain and to exit by `deadline`."""
        self.deadline = min(self.deadline, deadline)
        with contextlib.suppress(OSError):
            self.channel.shutdown(socket.SHUT_WR)

    def hurry(self, deadline: float) -> None:
        """Tell a draining worker to exit without waiting for requests in flight."""
        self.deadline = min(self.deadline, deadline)
        os.kill(self.pid, signal.SIGINT)

    def kill(self, deadline: float) -> None:
        """Send SIGKILL; the worker exits by `deadline` unless it is blocked on a disk."""
        self.is_killed = True
        self.deadline = deadline
        os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Close the channel and the heartbeat in this process."""
        self.channel.close()
        self._heartbeat.close()

    def reap(self) -> str:
        """Reap the process, which has exited; return how it ended."""
        self.close()
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        self.has_failed = code != 0
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return f"worker {self.pid} ended: {how}"

    def _is_hung(self, now: float) -> bool:
        """Return True if the heartbeat has not changed for `HUNG_SECONDS`."""
        if self._heartbeat.count != self._beats:
            self._beats, self._alive_at = self._heartbeat.count, now
        if now - self._alive_at < heartbeat.HUNG_SECONDS:
            return False
        if self._is_traced():
            self._alive_at = now
            return False
        return True

    def _is_traced(self) -> bool:
        """Return True if a debugger is attached."""
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
            return any(line.startswith("TracerPid:") and line[10:].strip() != "0" for line in lines)
        return False
