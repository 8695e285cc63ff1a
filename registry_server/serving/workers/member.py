"""A worker as the supervisor sees it: a process, its channel and its pulse."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import time
from pathlib import Path

from registry_server.serving.workers import pulse
from registry_server.serving.workers.pulse import Pulse


class Member:
    """One worker from its fork to its exit; `channel` is readable when its state changes.

    `now` is the supervisor's running time in seconds.
    """

    def __init__(
        self, pid: int, channel: socket.socket, beats: Pulse, drain_seconds: float, now: float
    ) -> None:
        self.pid = pid
        self.channel = channel
        self.drain_seconds = drain_seconds
        self.is_ready = False
        self.is_draining = False
        self.is_killed = False
        self.has_failed = False
        self.deadline = math.inf
        self._beats = beats
        self._seen = beats.count
        self._alive_at = now
        self._forked = time.monotonic()

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

    def is_hung(self, now: float) -> bool:
        """Return True if the pulse has not changed for `HUNG_SECONDS`."""
        if self._beats.count != self._seen:
            self._seen, self._alive_at = self._beats.count, now
        if now - self._alive_at < pulse.HUNG_SECONDS:
            return False
        if self._is_traced():
            self._alive_at = now
            return False
        return True

    def start(self) -> None:
        """Tell the worker, which is ready, to accept connections."""
        with contextlib.suppress(ConnectionError):
            self.channel.sendall(b"!")

    def drain(self, deadline: float) -> None:
        """Tell the worker to drain and to exit by `deadline`."""
        self.is_draining = True
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
        """Close the channel and the pulse in this process."""
        self.channel.close()
        self._beats.close()

    def reap(self) -> str:
        """Reap the process, which has exited; return how it ended."""
        self.close()
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        self.has_failed = code != 0
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return f"worker {self.pid} ended: {how}"

    def _is_traced(self) -> bool:
        """Return True if a debugger is attached."""
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
            return any(line.startswith("TracerPid:") and line[10:].strip() != "0" for line in lines)
        return False
