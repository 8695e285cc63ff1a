"""Counts the time during which this process runs, for timeouts that exclude suspension."""

from __future__ import annotations

import time
from collections.abc import Callable

# Seconds by which a wait may overrun on a busy machine.
_LATE = 1.0


class RunningTime:
    """The seconds during which this process ran, without the time it was stopped.

    A stopped process group, a paused container and a suspended machine stop the workers as well.
    Afterwards the workers must not count as hung.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()
        self.now = 0.0

    def advance(self, waited: float) -> None:
        """Add the time since the last call, during which the process waited for up to `waited` s.

        If more has passed, the process was stopped, and only `waited` is added.
        """
        before, self._last = self._last, self._clock()
        passed = self._last - before
        self.now += passed if passed <= waited + _LATE else waited
