"""Types for bytes in memory and open files, shared by all layers."""

from __future__ import annotations

from typing import Protocol, TypeAlias

# Bytes in memory. Where an interface says so, its owner may reuse the memory afterwards.
Buffer: TypeAlias = bytes | bytearray | memoryview


class HasDescriptor(Protocol):
    """An open file of the operating system."""

    def fileno(self) -> int:
        """Return the descriptor, which still belongs to the file."""
