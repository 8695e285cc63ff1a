"""Counts of what a repository's folder contains."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from storage.content.links import digests, tags_in
from storage.drivers.base import Reader
from storage.maintenance.garbage.mark.repository_links import revisions
from storage.maintenance.stale_uploads import sessions
from storage.values import paths
from storage.values.names import RepositoryName


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts; `oldest` is when the longest idle upload was last active, in s since 1970."""

    manifests: int
    tags: int
    blobs: int
    uploads: int
    oldest: float | None


def tally(reader: Reader, name: RepositoryName) -> Tally | None:
    """Count the links and uploads of a repository; None when the repository does not exist."""
    if not any(map(paths.is_part, reader.folders(paths.repository(name)))):
        return None
    # Each may be a million, so none is collected in a list.
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
    for upload in sessions(reader, name):
        count += 1
        oldest = upload.touched if oldest is None else min(oldest, upload.touched)
    return count, oldest


def _count(items: Iterable[object]) -> int:
    return sum(1 for _ in items)
