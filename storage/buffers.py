"""What bytes are handed from floor to floor in."""

from __future__ import annotations

from typing import Protocol, TypeAlias

# Bytes in memory. Where it says so, they may be written over once they were dealt with.
Buffer: TypeAlias = bytes | bytearray | memoryview


class HasDescriptor(Protocol):
    """An open file of the operating system."""

    def fileno(self) -> int:
        """Return its descriptor, which stays its own."""
