"""Counts of files and their bytes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Amount:
    """A number of files and the sum of their bytes."""

    count: int = 0
    size: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.count + other.count, self.size + other.size)

    def __sub__(self, other: Amount) -> Amount:
        """Return the difference, at least zero: files may be added between the two counts."""
        return Amount(max(self.count - other.count, 0), max(self.size - other.size, 0))
