"""Places where a repository, or a part of one, may be hidden from a walk of the tree.

A collection that overlooks a repository deletes what it needs. So such a place is trouble, and
nothing that a client pushed is deleted. A dangling symbolic link, or one to an empty folder outside
the root, probably means a disk that is not mounted: an unused mount point is an empty folder.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from storage.drivers.base import LinkTarget, Reader
from storage.maintenance.garbage.survey.surveyed_blobs import SurveyedBlobs
from storage.maintenance.tolerant_reads import TolerantReader, Trouble
from storage.values import paths
from storage.values.names import NAME_LIMIT, is_component

logger = logging.getLogger(__name__)

_NOT_MOUNTED = "is a link to nothing or to an empty folder; is a disk not mounted?"
_NO_NAME = "contains a repository, but its name is not valid, so it cannot be served"
_TOO_MANY = "contains too many folders to check whether a repository is among them"
SHARED = "is a link to another part of the tree, so what needs its content is unknown"
# Folders below one of another program's that are examined.
_MAX_FOREIGN = 10_000


def add_hidden_places(blobs: SurveyedBlobs, trouble: list[Trouble], reader: Reader) -> bool:
    """Add and log places that may hide a repository or a part of one; return whether any does."""
    has_blobs = blobs.count_and_size() != (0, 0)
    places = list(hidden_places(TolerantReader(reader, trouble), has_blobs=has_blobs))
    for path, reason in places:
        logger.error("%s %s", path, reason)
    trouble += places
    return bool(places)


def hidden_places(reader: Reader, *, has_blobs: bool) -> Iterator[Trouble]:
    """Yield the places that may hide a repository, or a part of one."""
    top = paths.REPOSITORIES
    if has_blobs and (reader.link_target(top) is LinkTarget.MISSING or is_unmounted(reader, top)):
        yield Trouble(top, "is missing, but there are blobs; to delete all of them, create it")
        return
    yield from _below(reader, "")


def unmounted_blob_folders(reader: Reader) -> Iterator[Trouble]:
    """Yield the folders of blobs that are links to nothing, or to a disk that is not mounted."""
    for path in (paths.BLOBS, *(paths.blobs_of(name) for name in reader.names(paths.BLOBS))):
        below = [] if path == paths.BLOBS else [f"{path}/{name}" for name in reader.names(path)]
        for folder in (path, *below):
            if is_unmounted(reader, folder):
                yield Trouble(folder, _NOT_MOUNTED)


def is_unmounted(reader: Reader, path: str) -> bool:
    """Return whether a path is a symbolic link to nothing, or to a disk that is not mounted."""
    return _is_unmounted(reader, path, reader.link_target(path))


def _is_unmounted(reader: Reader, path: str, target: LinkTarget) -> bool:
    return target is LinkTarget.DANGLING or (
        target is LinkTarget.OUTSIDE and not any(reader.entries(path))
    )


def _below(reader: Reader, prefix: str) -> Iterator[Trouble]:
    folder = f"{paths.REPOSITORIES}/{prefix}".rstrip("/")
    for name, is_folder in sorted(reader.entries(folder)):
        path = f"{folder}/{name}"
        if is_unmounted(reader, path):
            yield Trouble(path, _NOT_MOUNTED)
        elif name in paths.MEMBER_LEVELS:
            yield from _in_part(reader, path, paths.MEMBER_LEVELS[name])
        elif paths.is_part(name) or not is_folder:
            continue
        elif not is_component(name):
            yield from _in_foreign(reader, path)
        elif len(prefix) + len(name) <= NAME_LIMIT:  # no registry takes a longer one
            yield from _below(reader, f"{prefix}{name}/")


def _in_part(reader: Reader, part: str, levels: int) -> Iterator[Trouble]:
    if reader.link_target(part) is LinkTarget.INSIDE:
        yield Trouble(part, SHARED)
    # There may be a million tags and hardly any trouble, so the trouble is sorted, not the tags.
    places = (
        at for name, _ in reader.entries(part) for at in _at(reader, f"{part}/{name}", levels)
    )
    yield from sorted(places)


def _at(reader: Reader, path: str, levels: int) -> Iterator[Trouble]:
    target = reader.link_target(path)
    if _is_unmounted(reader, path, target):
        yield Trouble(path, _NOT_MOUNTED)
    elif levels > 1:
        yield from _in_part(reader, path, levels - 1)
    elif target is LinkTarget.INSIDE:
        yield Trouble(path, SHARED)


def _in_foreign(reader: Reader, folder: str) -> Iterator[Trouble]:
    """Look for parts of repositories in folders of other programs, or below an invalid name."""
    waiting = [folder]
    for _ in range(_MAX_FOREIGN):
        if not waiting:
            return
        at = waiting.pop()
        for name in (entry.name for entry in reader.entries(at) if entry.is_folder):
            if name in paths.MEMBER_LEVELS:
                yield Trouble(folder, _NO_NAME)
                return
            if len(waiting) <= _MAX_FOREIGN:  # one more than can be examined
                waiting.append(f"{at}/{name}")
    yield Trouble(folder, _TOO_MANY)
