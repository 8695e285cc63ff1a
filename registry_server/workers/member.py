"""A worker as its supervisor sees it: a process, and a channel to it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from multiprocessing.context import ForkProcess


class Member:
    """One worker, from its fork to its end; news of it can be read from `channel`."""

    def __init__(self, process: ForkProcess, channel: socket.socket) -> None:
        self.is_ready = False
        self.is_leaving = False
        self.has_failed = False
        self._process = process
        self.channel = channel
        self._forked = time.monotonic()

    @property
    def pid(self) -> int:
        """Return the process's id."""
        assert self._process.pid is not None, "not started"
        return self._process.pid

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

    def go(self) -> None:
        """Let it accept connections, now that it is ready."""
        with contextlib.suppress(ConnectionError):
            self.channel.sendall(b"!")

    def leave(self) -> None:
        """Have it drain, and end."""
        self.is_leaving = True
        with contextlib.suppress(OSError):
            self.channel.shutdown(socket.SHUT_WR)

    def hurry(self) -> None:
        """Have it end without waiting for requests in flight, once it was told to leave."""
        os.kill(self.pid, signal.SIGINT)

    def let_go(self) -> None:
        """Close the channel; in the supervisor, which holds this end alone, the worker notices."""
        self.channel.close()

    def reap(self) -> str:
        """Collect the process, which has ended; return how it did."""
        self.let_go()
        self._process.join()
        code = self._process.exitcode or 0
        name = self._process.pid
        self._process.close()
        self.has_failed = code != 0
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return f"worker {name} ended: {how}"
