"""What a walk over the repositories does not see, and what may lie there.

A collection that overlooks a repository, or a part of one, removes what that needs. So where one
may be that no walk enters, that is trouble, and nothing goes. Where a symbolic link leads to
nothing, or to an empty folder elsewhere, a disk is probably not mounted: a mount point is one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from storage.drivers.base import LinkTarget, Reader
from storage.maintenance.garbage.ledger import Ledger
from storage.maintenance.tolerant import TolerantReader, Trouble
from storage.values import paths
from storage.values.names import NAME_LIMIT, is_component

logger = logging.getLogger(__name__)

_NOT_THERE = "leads to nothing, or to an empty folder: a disk that is not mounted, perhaps"
_NO_NAME = "holds a repository, and its name is none that can be served"
_TOO_MUCH = "holds so many folders that nobody can tell whether a repository is among them"
SHARED = "leads to another part of the tree, so what else needs it can't be told"
_PARTS = frozenset({"_layers", "_manifests"})
# Down to `_layers/<alg>`, `_manifests/revisions/<alg>` and `_manifests/tags/<tag>`.
_LEVELS = {"_layers": 1, "_manifests": 2}
# Folders of another program's that are looked through.
_MOST_FOREIGN = 10_000


def note_hidden(ledger: Ledger, trouble: list[Trouble], reader: Reader) -> bool:
    """Add to `trouble` what may hide a repository or a part of one; tell whether anything may."""
    has_blobs = ledger.sum_of_blobs() != (0, 0)
    found = list(hidden(TolerantReader(reader, trouble), has_blobs=has_blobs))
    for one in found:
        logger.error("%s %s", one.path, one.reason)
    trouble += found
    return bool(found)


def hidden(reader: Reader, *, has_blobs: bool) -> Iterator[Trouble]:
    """Yield what may hide a repository, or a part of one."""
    top = paths.REPOSITORIES
    if has_blobs and (reader.link_target(top) is LinkTarget.MISSING or is_lost(reader, top)):
        yield Trouble(top, "is not there, and blobs are: make it if all are to go")
        return
    yield from _below(reader, "")


def hidden_blobs(reader: Reader) -> Iterator[Trouble]:
    """Yield what may hide blobs: a folder of them that leads to what is not there."""
    for path in (paths.BLOBS, *(f"{paths.BLOBS}/{name}" for name in reader.names(paths.BLOBS))):
        below = [] if path == paths.BLOBS else [f"{path}/{name}" for name in reader.names(path)]
        for one in (path, *below):
            if is_lost(reader, one):
                yield Trouble(one, _NOT_THERE)


def is_lost(reader: Reader, path: str) -> bool:
    """Tell whether a path is a symbolic link to what is not there, or not mounted."""
    return _is_lost(reader, path, reader.link_target(path))


def _is_lost(reader: Reader, path: str, target: LinkTarget) -> bool:
    return target is LinkTarget.DANGLING or (
        target is LinkTarget.OUTSIDE and not any(reader.entries(path))
    )


def _below(reader: Reader, prefix: str) -> Iterator[Trouble]:
    folder = f"{paths.REPOSITORIES}/{prefix}".rstrip("/")
    for name, is_folder in sorted(reader.entries(folder)):
        path = f"{folder}/{name}"
        if is_lost(reader, path):
            yield Trouble(path, _NOT_THERE)
        elif name in _PARTS:
            yield from _in_part(reader, path, _LEVELS[name])
        elif name.startswith("_") or not is_folder:
            continue
        elif not is_component(name):
            yield from _in_foreign(reader, path)
        elif len(prefix) + len(name) <= NAME_LIMIT:  # no registry takes a longer one
            yield from _below(reader, f"{prefix}{name}/")


def _in_part(reader: Reader, part: str, levels: int) -> Iterator[Trouble]:
    if reader.link_target(part) is LinkTarget.INSIDE:
        yield Trouble(part, SHARED)
    # There may be a million tags, and hardly any trouble: that is put in order, not they.
    found = (
        one for name, _ in reader.entries(part) for one in _at(reader, f"{part}/{name}", levels)
    )
    yield from sorted(found)


def _at(reader: Reader, path: str, levels: int) -> Iterator[Trouble]:
    target = reader.link_target(path)
    if _is_lost(reader, path, target):
        yield Trouble(path, _NOT_THERE)
    elif levels > 1:
        yield from _in_part(reader, path, levels - 1)
    elif target is LinkTarget.INSIDE:
        yield Trouble(path, SHARED)


def _in_foreign(reader: Reader, folder: str) -> Iterator[Trouble]:
    """Look for parts of repositories in the folders of another program, or below a bad name."""
    waiting = [folder]
    for _ in range(_MOST_FOREIGN):
        if not waiting:
            return
        at = waiting.pop()
        for name in (entry.name for entry in reader.entries(at) if entry.is_folder):
            if name in _PARTS:
                yield Trouble(folder, _NO_NAME)
                return
            if len(waiting) <= _MOST_FOREIGN:  # one more than can be looked through
                waiting.append(f"{at}/{name}")
    yield Trouble(folder, _TOO_MUCH)
