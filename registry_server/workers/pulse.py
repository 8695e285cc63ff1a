"""A worker's sign of life: a byte in shared memory that its event loop changes.

It costs the worker one timer, and wakes no other process. The supervisor looks now and then.
"""

from __future__ import annotations

import mmap

# Seconds between two beats of a worker.
BEAT_SECONDS = 5.0

# Seconds without a beat after which a worker counts as hung. No request holds a loop for that long;
# a disk that takes a minute to answer does, and then its worker could not answer either.
HUNG_SECONDS = 60.0


class Pulse:
    """Made before the fork; the worker calls `beat`, the supervisor reads `count`."""

    def __init__(self) -> None:
        """Share one page of memory; raise OSError when there is none."""
        self._page = mmap.mmap(-1, mmap.PAGESIZE)

    def beat(self) -> None:
        """Show that the event loop runs; it allocates nothing."""
        self._page[0] = (self._page[0] + 1) & 0xFF

    @property
    def count(self) -> int:
        """Return the number of beats, modulo 256."""
        return self._page[0]

    def close(self) -> None:
        """Free the page in this process."""
        self._page.close()
