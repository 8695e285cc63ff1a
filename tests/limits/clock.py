"""A clock that a test advances."""

from __future__ import annotations


class Clock:
    """A clock in nanoseconds."""

    def __init__(self) -> None:
        self.now = 10**15

    def __call__(self) -> int:
        """Return the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Advance the time."""
        self.now += int(seconds * 10**9)
