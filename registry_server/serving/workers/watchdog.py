"""Ends a supervisor that blocks after SIGTERM, for example because its log pipe is full."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType

# Seconds between two calls of `restart`; the supervisor polls for at most a third of this.
SECONDS = 30.0
# Extra seconds, in case the time passed because the process was stopped (SIGSTOP).
MORE_SECONDS = 5.0


class Watchdog:
    """Once armed, calls `kill` and exits with code 1 unless `restart` is called in time.

    A kernel timer interrupts the system call in which the process blocks. Python runs the handler
    before it retries the call.
    """

    def __init__(self, kill: Callable[[], None]) -> None:
        self._kill = kill
        self._is_armed = False
        self._has_expired = False

    def arm(self) -> None:
        """Start the timer; safe to call in a signal handler."""
        signal.signal(signal.SIGALRM, self._expire)
        self._is_armed = True
        self.restart()

    def restart(self) -> None:
        """Restart the timer if it is armed: the process makes progress."""
        if self._is_armed:
            self._has_expired = False
            signal.setitimer(signal.ITIMER_REAL, SECONDS)

    def _expire(self, _number: int, _frame: FrameType | None) -> None:
        if self._has_expired:
            self._kill()
            os._exit(1)
        self._has_expired = True
        signal.setitimer(signal.ITIMER_REAL, MORE_SECONDS)
