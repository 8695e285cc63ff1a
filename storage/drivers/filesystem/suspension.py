"""Suspending a process (Ctrl-Z) at a moment when it holds no lock that other processes need."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class LockUsage:
    """Counts the threads of this process that hold a lock or wait for one."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count this thread within the block."""
        with self._changed:
            self._count += 1
        try:
            yield
        finally:
            with self._changed:
                self._count -= 1
                self._changed.notify_all()

    def suspend(self, patience: float) -> None:
        """Stop the process when the count is zero; return after `patience` seconds otherwise.

        Call this in the handler of SIGTSTP, on a thread that is never counted. The kernel ignores
        the signal where no shell could continue the process.
        """
        with self._changed:
            if self._changed.wait_for(lambda: self._count == 0, patience):
                handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
                signal.raise_signal(signal.SIGTSTP)
                signal.signal(signal.SIGTSTP, handler)
