"""Deliberately wrong collectors: they show that the race detects a loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from storage.drivers.base import Driver, Reader
from storage.drivers.filesystem.tree_lock import LockedTree, TreeLock
from storage.maintenance.garbage import plan
from storage.maintenance.garbage.mark import marking
from storage.maintenance.garbage.mark.dependencies import Dependencies, read_dependencies
from storage.maintenance.garbage.sweep import content_sweep
from storage.values.digest import Digest
from storage.values.paths import claim


def _blind() -> None:
    """Remove what was planned, even if it was used since."""
    content_sweep.Sweep._is_unchanged = lambda *_: True  # type: ignore[method-assign]


def _impatient() -> None:
    """Treat everything as old."""

    async def never(driver: Driver, options: plan.Options) -> int:
        return 1 << 62

    plan._young_after = never


def _barrierless() -> None:
    """Mark without waiting for concurrent changes."""

    async def nothing(driver: Driver) -> None:
        return

    plan._barrier = nothing


def _unlocked() -> None:
    """Remove without the exclusive lock."""

    @contextmanager
    def exclusive(self: TreeLock) -> Iterator[LockedTree]:
        with self._locked(claim("unused"), 0, 0.0) as fd:
            yield LockedTree(fd, self._root)

    TreeLock.exclusive = exclusive  # type: ignore[method-assign]


def _childless() -> None:
    """Ignore the children of indexes."""

    def blobs_alone(reader: Reader, digest: Digest) -> Dependencies | None:
        needs = read_dependencies(reader, digest)
        return needs and Dependencies(needs.blobs, (), needs.subject)

    vars(marking)["read_dependencies"] = blobs_alone


FAULTS: Mapping[str, Callable[[], None]] = {
    "barrierless": _barrierless,
    "blind": _blind,
    "childless": _childless,
    "impatient": _impatient,
    "unlocked": _unlocked,
}
