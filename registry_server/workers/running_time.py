"""The time in which this process ran, for limits that are to hold only while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable

# Seconds by which a wait may end late on a busy machine.
_LATE = 1.0


class RunningTime:
    """Seconds in which this process ran; none pass while it is stopped.

    A stopped process group, a paused container and a suspended machine stop the workers as well.
    After that the workers must not be taken for hung.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()
        self.now = 0.0

    def advance(self, waited: float) -> None:
        """Add the time since the last call, in which the process waited at most `waited` seconds.

        If more has passed, the process was stopped meanwhile, and only `waited` is added.
        """
        before, self._last = self._last, self._clock()
        passed = self._last - before
        self.now += passed if passed <= waited + _LATE else waited
