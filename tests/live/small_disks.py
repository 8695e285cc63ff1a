"""A disk of a few MiB that is filled, by bytes or by files: a filesystem in memory, mounted."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import pytest

from tests.support.tools import REQUIRE_VARIABLE, require_root, require_tool, run

MIB = 1 << 20
SIZE = 8 * MIB


@contextmanager
def small_disk(folder: Path, more: str = "") -> Iterator[Path]:
    """Mount a filesystem of SIZE bytes, with `more` options; skip where that is not permitted."""
    require_root()
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={SIZE}{more}", "tmpfs"]
    command = [require_tool("mount"), *options, str(folder)]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    if refused.returncode and os.environ.get(REQUIRE_VARIABLE) != "1":
        pytest.skip(f"needs to mount: {refused.stderr}")
    assert refused.returncode == 0, refused.stderr
    try:
        yield folder
    finally:
        run([require_tool("umount"), str(folder)])


def free(folder: Path) -> int:
    """Return how many bytes the disk below a folder has room for."""
    found = os.statvfs(folder)
    return found.f_bfree * found.f_bsize


def fill(folder: Path, leave: int = 0) -> Path:
    """Take all room but `leave` bytes with a file that is none of the registry's."""
    filler = folder / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free(folder) - leave)
    return filler


def fill_with_files(folder: Path) -> None:
    """Make empty files until there is room for none."""
    with suppress(OSError):
        for number in count():
            (folder / f"filler-{number}").touch()
