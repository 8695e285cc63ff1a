"""Collectors that are wrong on purpose: they show that the race notices when something is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from storage.drivers.base import Driver, Reader
from storage.drivers.filesystem.tree_lock import LockedTree, TreeLock
from storage.maintenance.garbage import marking, plan, sweep
from storage.maintenance.garbage.needs import Needs, read_needs
from storage.values.digest import Digest
from storage.values.paths import claim


def _blind() -> None:
    """Remove what was planned, whoever used it since."""
    sweep.Sweep._is_unchanged = lambda *_: True  # type: ignore[method-assign]


def _impatient() -> None:
    """Take everything for old."""

    async def never(driver: Driver, options: plan.Options) -> int:
        return 1 << 62

    plan._young_after = never


def _barrierless() -> None:
    """Mark without waiting for those who publish."""

    async def nothing(driver: Driver) -> None:
        return

    plan._barrier = nothing


def _unlocked() -> None:
    """Remove beside those who publish."""

    @contextmanager
    def exclusive(self: TreeLock) -> Iterator[LockedTree]:
        with self._locked(claim("nobody's"), 0, 0.0) as fd:
            yield LockedTree(fd, self._root)

    TreeLock.exclusive = exclusive  # type: ignore[method-assign]


def _childless() -> None:
    """Overlook what indexes list."""

    def blobs_alone(reader: Reader, digest: Digest) -> Needs | None:
        needs = read_needs(reader, digest)
        return needs and Needs(needs.blobs, (), needs.subject)

    vars(marking)["read_needs"] = blobs_alone


FAULTS: Mapping[str, Callable[[], None]] = {
    "barrierless": _barrierless,
    "blind": _blind,
    "childless": _childless,
    "impatient": _impatient,
    "unlocked": _unlocked,
}
