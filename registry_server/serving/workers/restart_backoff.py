"""How long to wait before a worker is replaced."""

from __future__ import annotations

import time
from collections.abc import Callable

# A worker that exits before this age has failed early.
EARLY_SECONDS = 10.0

# Seconds to wait, indexed by the number of consecutive early failures.
PAUSES = (0.0, 0.0, 0.25, 0.5, 1.0, 2.0)


class RestartBackoff:
    """Backs off after consecutive early failures; any other worker is replaced immediately."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._in_a_row = 0
        self._next = clock()

    def record_exit(self, age: float) -> None:
        """Record that a worker exited at this age, in seconds."""
        self._in_a_row = 0 if age >= EARLY_SECONDS else self._in_a_row + 1
        self._next = self._clock() + PAUSES[min(self._in_a_row, len(PAUSES) - 1)]

    @property
    def pause(self) -> float:
        """Return the seconds to wait before the next start."""
        return max(0.0, self._next - self._clock())

    @property
    def is_exhausted(self) -> bool:
        """Return True after so many consecutive early failures that another start is pointless."""
        return self._in_a_row >= len(PAUSES)
