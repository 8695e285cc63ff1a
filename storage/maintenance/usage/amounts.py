"""Numbers of files, and of their bytes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Amount:
    """So many files, and how many bytes they have together."""

    count: int = 0
    size: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.count + other.count, self.size + other.size)

    def __sub__(self, other: Amount) -> Amount:
        """Return what is left; nothing if the two were counted while more came."""
        return Amount(max(self.count - other.count, 0), max(self.size - other.size, 0))
