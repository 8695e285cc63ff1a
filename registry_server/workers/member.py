"""A worker as its supervisor sees it: a process, a channel to it, and its pulse."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import time
from pathlib import Path

from registry_server.workers import pulse
from registry_server.workers.pulse import Pulse


class Member:
    """One worker, from its fork to its end; news of it can be read from `channel`.

    `now` is the supervisor's running time, in seconds.
    """

    def __init__(
        self, pid: int, channel: socket.socket, beats: Pulse, drain_seconds: float, now: float
    ) -> None:
        self.pid = pid
        self.channel = channel
        self.drain_seconds = drain_seconds
        self.is_ready = False
        self.is_leaving = False
        self.is_killed = False
        self.has_failed = False
        self.deadline = math.inf
        self._beats = beats
        self._seen = beats.count
        self._alive_at = now
        self._forked = time.monotonic()

    @property
    def age(self) -> float:
        """Return the seconds since it was forked."""
        return time.monotonic() - self._forked

    def lives(self) -> bool:
        """Take the news from the channel; False when the worker has ended."""
        try:
            lives = self.channel.recv(1) != b""
        except ConnectionError:
            return False
        self.is_ready |= lives
        return lives

    def is_hung(self, now: float) -> bool:
        """Look at its pulse; tell whether it has not changed for too long."""
        if self._beats.count != self._seen:
            self._seen, self._alive_at = self._beats.count, now
        if now - self._alive_at < pulse.HUNG_SECONDS:
            return False
        if self._is_traced():
            self._alive_at = now
            return False
        return True

    def go(self) -> None:
        """Let it accept connections, now that it is ready."""
        with contextlib.suppress(ConnectionError):
            self.channel.sendall(b"!")

    def leave(self, deadline: float) -> None:
        """Have it drain, and end by `deadline`."""
        self.is_leaving = True
        self.deadline = min(self.deadline, deadline)
        with contextlib.suppress(OSError):
            self.channel.shutdown(socket.SHUT_WR)

    def hurry(self, deadline: float) -> None:
        """Have it end without waiting for requests in flight, once it was told to leave."""
        self.deadline = min(self.deadline, deadline)
        os.kill(self.pid, signal.SIGINT)

    def kill(self, deadline: float) -> None:
        """Send SIGKILL; the kernel ends it by `deadline`, unless it waits for a disk."""
        self.is_killed = True
        self.deadline = deadline
        os.kill(self.pid, signal.SIGKILL)

    def let_go(self) -> None:
        """Close the channel; the worker notices when the supervisor does, which alone holds it."""
        self.channel.close()
        self._beats.close()

    def reap(self) -> str:
        """Collect the process, which has ended; return how it did."""
        self.let_go()
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        self.has_failed = code != 0
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return f"worker {self.pid} ended: {how}"

    def _is_traced(self) -> bool:
        """Tell whether a debugger holds it."""
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
            return any(each.startswith("TracerPid:") and each[10:].strip() != "0" for each in lines)
        return False
