"""What a repository's own folders hold, counted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from storage.content.links import digests, tags_in
from storage.drivers.base import Reader
from storage.maintenance.garbage.marking import revisions
from storage.maintenance.stale_uploads import sessions
from storage.values import paths
from storage.values.names import RepositoryName


@dataclass(frozen=True, slots=True)
class Tally:
    """How many of each; `oldest` is the least recent sign of life of an upload, s since 1970."""

    manifests: int
    tags: int
    blobs: int
    uploads: int
    oldest: float | None


def tally(reader: Reader, name: RepositoryName) -> Tally | None:
    """Count what a repository has links of; None when it has no folder of its own."""
    if not any(one.startswith("_") for one in reader.folders(paths.repository(name))):
        return None
    # Each of these may be a million: they are counted as they come.
    current = partial(paths.tag_current_link, name)
    uploads, oldest = _uploads(reader, name)
    return Tally(
        manifests=_count(revisions(reader, name)),
        tags=_count(tag for tag in tags_in(reader, name) if reader.stat(current(tag)) is not None),
        blobs=_count(digests(reader, paths.layers(name))),
        uploads=uploads,
        oldest=oldest,
    )


def _uploads(reader: Reader, name: RepositoryName) -> tuple[int, float | None]:
    count, oldest = 0, None
    for one in sessions(reader, name):
        count += 1
        oldest = one.touched if oldest is None else min(oldest, one.touched)
    return count, oldest


def _count(some: Iterable[object]) -> int:
    return sum(1 for _ in some)
