"""A worker's heartbeat: a byte in shared memory that its event loop increments.

It costs the worker one timer and wakes no other process; the supervisor polls it.
"""

from __future__ import annotations

import mmap

# Seconds between two beats.
BEAT_SECONDS = 5.0

# Seconds without a beat after which a worker counts as hung. No request blocks the event loop for
# that long; a disk that takes a minute to respond does, and then the worker serves no request.
HUNG_SECONDS = 60.0


class Heartbeat:
    """Created before the fork; the worker calls `beat`, the supervisor reads `count`."""

    def __init__(self) -> None:
        """Map one page of shared memory; raise OSError if that fails."""
        self._page = mmap.mmap(-1, mmap.PAGESIZE)

    def beat(self) -> None:
        """Record that the event loop runs, without allocating memory."""
        self._page[0] = (self._page[0] + 1) & 0xFF

    @property
    def count(self) -> int:
        """Return the number of beats, modulo 256."""
        return self._page[0]

    def close(self) -> None:
        """Unmap the page in this process."""
        self._page.close()
