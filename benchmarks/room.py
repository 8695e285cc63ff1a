"""Whether a folder has room for trees of many blobs: inodes and bytes."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import NotReady

GB = 1_000_000_000
INODES_PER_BLOB = 5
"""A file and a folder each for the blob and for its link, a tenth of both for what is unreferenced,
and some for tags: 4.3."""
BYTES_PER_INODE = 4096
"""On ext4 the smallest file takes a block, and so does a folder."""


@dataclass(frozen=True, slots=True)
class Space:
    """Inodes and bytes; `inodes` is None where the filesystem has no fixed number of them."""

    inodes: int | None
    size: int

    def __str__(self) -> str:
        size = f"{self.size / GB:.1f} GB"
        return size if self.inodes is None else f"{self.inodes:,} inodes and {size}"

    def less(self, blobs: int) -> "Space":
        """Return what is left beside a tree of so many blobs; below zero where it does not fit."""
        taken = needed(blobs)
        inodes = None if self.inodes is None else self.inodes - (taken.inodes or 0)
        return Space(inodes, self.size - taken.size)

    def is_short(self) -> bool:
        """Tell whether more was taken than there was."""
        return self.size < 0 or (self.inodes or 0) < 0


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A tree that does not fit beside the smaller ones, and the free space without them."""

    blobs: int
    free: Space

    def __str__(self) -> str:
        need, free = needed(self.blobs), self.free
        return f"{self.blobs:,} blobs need {need}, and {free} are free"


def needed(blobs: int) -> Space:
    """Return what a tree of so many blobs takes at most."""
    inodes = blobs * INODES_PER_BLOB
    return Space(inodes, inodes * BYTES_PER_INODE)


def free(folder: Path) -> Space:
    """Return what an ordinary user may still take of the filesystem of a folder."""
    disk = os.statvfs(folder)
    # btrfs makes inodes as they are needed, and tells that it has 0.
    return Space(disk.f_favail if disk.f_files else None, disk.f_bavail * disk.f_frsize)


def fitting(folder: Path, sizes: Sequence[int]) -> tuple[list[int], list[LeftOut]]:
    """Return the sizes of trees that fit beside each other, the smallest first, and the others."""
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
