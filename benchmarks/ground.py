"""The same ground for every measurement that writes: clean disk, memory that is there.

A virtual machine gets its memory from the host page by page, when it is first used, and sees the
time as its own: over 2 s of system time per GB where this was found, more than all else that a
push costs. Pages that were in use a moment ago cost nothing; those that have been free for some
seconds may have gone back to the host (free page reporting), so this belongs right before what
is measured.
"""

import os
from pathlib import Path

from benchmarks.material import PIECE_BYTES

SPARE_BYTES = 256 << 20


def level(folder: Path, size: int) -> None:
    """Let the next `size` bytes written get memory that was in use, and a disk that is idle.

    It writes as many bytes to a file and removes it, most of them before they reach the disk.
    """
    file, piece = folder / "ground", bytes(PIECE_BYTES)
    os.sync()
    with file.open("wb", buffering=0) as out:
        for _ in range((size + SPARE_BYTES) // len(piece)):
            out.write(piece)
    file.unlink()
    os.sync()
