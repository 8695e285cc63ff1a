"""The end of a supervisor that blocks after SIGTERM, for example because nothing reads its log."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType

# Seconds without a sign of life; the supervisor waits for a third of it at most.
SECONDS = 30.0
# Seconds more for a process that finds the time over because it was stopped meanwhile.
MORE_SECONDS = 5.0


class LastResort:
    """Once armed, calls `kill` and ends the process with code 1 unless `wait` is called in time.

    A timer of the kernel interrupts the call in which the process blocks. Python runs the handler
    before it repeats the call.
    """

    def __init__(self, kill: Callable[[], None]) -> None:
        self._kill = kill
        self._is_armed = False
        self._has_expired = False

    def arm(self) -> None:
        """Begin to count; call this in a handler of a signal, too."""
        signal.signal(signal.SIGALRM, self._expire)
        self._is_armed = True
        self.wait()

    def wait(self) -> None:
        """Begin to count anew, if it was armed: the process goes on."""
        if self._is_armed:
            self._has_expired = False
            signal.setitimer(signal.ITIMER_REAL, SECONDS)

    def _expire(self, _number: int, _frame: FrameType | None) -> None:
        if self._has_expired:
            self._kill()
            os._exit(1)
        self._has_expired = True
        signal.setitimer(signal.ITIMER_REAL, MORE_SECONDS)
