"""The drivers that tests run against; a new one joins with a line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from storage.drivers.filesystem.driver import FilesystemDriver
from storage.drivers.memory import MemoryDriver

AnyDriver: TypeAlias = FilesystemDriver | MemoryDriver


def _filesystem(folder: Path) -> FilesystemDriver:
    return FilesystemDriver(folder, threads=4)


def _memory(folder: Path) -> MemoryDriver:
    return MemoryDriver()


DRIVERS: Mapping[str, Callable[[Path], AnyDriver]] = {
    "filesystem": _filesystem,
    "memory": _memory,
}
