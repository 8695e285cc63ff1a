"""Checks whether a folder has enough inodes and bytes for trees of many blobs."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import NotReady

GB = 1_000_000_000
INODES_PER_BLOB = 5
"""A file and a folder each for the blob and for its link, a tenth of both for unreferenced blobs,
and some for tags: 4.3 in total."""
BYTES_PER_INODE = 4096
"""On ext4 the smallest file and the smallest folder take one block."""


@dataclass(frozen=True, slots=True)
class Space:
    """Inodes and bytes; `inodes` is None if the filesystem has no fixed number of inodes."""

    inodes: int | None
    size: int

    def __str__(self) -> str:
        size = f"{self.size / GB:.1f} GB"
        return size if self.inodes is None else f"{self.inodes:,} inodes and {size}"

    def less(self, blobs: int) -> "Space":
        """Return the space left beside a tree of `blobs`; negative if it does not fit."""
        taken = needed(blobs)
        inodes = None if self.inodes is None else self.inodes - (taken.inodes or 0)
        return Space(inodes, self.size - taken.size)

    def is_short(self) -> bool:
        """Return True if more space was taken than available."""
        return self.size < 0 or (self.inodes or 0) < 0


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A tree that does not fit beside the smaller ones, and the space that they leave."""

    blobs: int
    free: Space

    def __str__(self) -> str:
        need, free = needed(self.blobs), self.free
        return f"{self.blobs:,} blobs need {need}, and {free} are free"


def needed(blobs: int) -> Space:
    """Return the space that a tree of `blobs` needs at most."""
    inodes = blobs * INODES_PER_BLOB
    return Space(inodes, inodes * BYTES_PER_INODE)


def free(folder: Path) -> Space:
    """Return the space on the folder's filesystem that is free for an unprivileged user."""
    disk = os.statvfs(folder)
    # btrfs allocates inodes on demand and reports 0.
    return Space(disk.f_favail if disk.f_files else None, disk.f_bavail * disk.f_frsize)


def fitting(folder: Path, sizes: Sequence[int]) -> tuple[list[int], list[LeftOut]]:
    """Return the sizes of the trees that fit together, the smallest first, and the others."""
    fit, left_out, space = [], [], free(folder)
    for blobs in sorted(set(sizes)):
        rest = space.less(blobs)
        if rest.is_short():
            left_out.append(LeftOut(blobs, space))
        else:
            fit.append(blobs)
            space = rest
    return fit, left_out


def require(folder: Path, sizes: Sequence[int]) -> None:
    """Raise `NotReady` unless trees of all these sizes fit."""
    for tree in fitting(folder, sizes)[1]:
        raise NotReady(f"{folder} has too little room: {tree}")
