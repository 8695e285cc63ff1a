"""Gives every measurement that writes the same start: an idle disk and memory that is allocated.

A virtual machine gets memory from the host page by page at first use, and counts that as its own
system time: over 2 s per GB where this was measured, more than the rest of a push. Pages that were
in use a moment ago cost nothing; pages that have been free for some seconds may have been returned
to the host (free page reporting). So call this directly before the measurement.
"""

import os
from pathlib import Path

from benchmarks.material import PIECE_BYTES

SPARE_BYTES = 256 << 20


def level(folder: Path, size: int) -> None:
    """Prepare allocated memory for the next `size` bytes written, and an idle disk.

    It writes as many bytes to a file and removes it, mostly before they reach the disk.
    """
    file, piece = folder / "ground", bytes(PIECE_BYTES)
    os.sync()
    with file.open("wb", buffering=0) as out:
        for _ in range((size + SPARE_BYTES) // len(piece)):
            out.write(piece)
    file.unlink()
    os.sync()
