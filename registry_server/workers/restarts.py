"""How long to wait before a worker is replaced."""

from __future__ import annotations

import time
from collections.abc import Callable

# Seconds. A worker that lived for less ended at once.
AT_ONCE = 10.0

# Seconds, by how many ended at once in a row.
PAUSES = (0.0, 0.0, 0.25, 0.5, 1.0, 2.0)


class Restarts:
    """Replaces at once a worker that had served for a while; has patience with one that had not."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._in_a_row = 0
        self._next = clock()

    def note_end(self, age: float) -> None:
        """Remember that a worker ended at this age, in seconds."""
        self._in_a_row = 0 if age >= AT_ONCE else self._in_a_row + 1
        self._next = self._clock() + PAUSES[min(self._in_a_row, len(PAUSES) - 1)]

    @property
    def pause(self) -> float:
        """Return the seconds to wait before the next start; 0 when it may be now."""
        return max(0.0, self._next - self._clock())

    @property
    def are_hopeless(self) -> bool:
        """Tell whether so many ended at once that the next would too."""
        return self._in_a_row >= len(PAUSES)
