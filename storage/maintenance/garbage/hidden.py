"""What a walk over the repositories does not see, and what may lie there.

A collection that overlooks a repository removes what it needs. So where one may be that no walk
enters, that is trouble, and no bytes go.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from storage import paths
from storage.drivers.base import Lead, View
from storage.maintenance.garbage.ledger import Ledger
from storage.maintenance.tolerant import TolerantView, Trouble
from storage.names import NAME_LIMIT, is_component

logger = logging.getLogger(__name__)

_NOT_THERE = "leads to nothing: a disk that is not mounted, perhaps"
_NO_NAME = "holds a repository, and its name is none that can be served"
_TOO_MUCH = "holds so many folders that nobody can tell whether a repository is among them"
SHARED = "leads to another part of the tree, so what else needs it can't be told"
_PARTS = frozenset({"_layers", "_manifests"})
# Folders of another program's that are looked through.
_MOST_FOREIGN = 10_000


def note_hidden(ledger: Ledger, trouble: list[Trouble], view: View) -> None:
    """Add to `trouble` what may hide a repository, or a part of one, and log it."""
    has_blobs = ledger.sum_of_blobs() != (0, 0)
    for one in hidden(TolerantView(view, trouble), has_blobs=has_blobs):
        logger.error("%s %s", one.path, one.reason)
        trouble.append(one)


def hidden(view: View, *, has_blobs: bool) -> Iterator[Trouble]:
    """Yield what may hide a repository, or a part of one."""
    if has_blobs and view.leads(paths.REPOSITORIES) in (Lead.ABSENT, Lead.NOWHERE):
        yield Trouble(paths.REPOSITORIES, "is not there, and blobs are: make it if all are to go")
        return
    yield from _below(view, "")


def _below(view: View, prefix: str) -> Iterator[Trouble]:
    for name in sorted(view.names(f"{paths.REPOSITORIES}/{prefix}".rstrip("/"))):
        path = f"{paths.REPOSITORIES}/{prefix}{name}"
        if view.leads(path) is Lead.NOWHERE:
            yield Trouble(path, _NOT_THERE)
        elif name in _PARTS:
            yield from _in_part(view, path)
        elif name.startswith("_"):
            continue
        elif not is_component(name):
            yield from _in_foreign(view, path)
        elif len(prefix) + len(name) <= NAME_LIMIT:
            yield from _below(view, f"{prefix}{name}/")


def _in_part(view: View, part: str) -> Iterator[Trouble]:
    if view.leads(part) is Lead.INSIDE:
        yield Trouble(part, SHARED)
    for name in sorted(view.names(part)):
        if view.leads(f"{part}/{name}") is Lead.NOWHERE:
            yield Trouble(f"{part}/{name}", _NOT_THERE)


def _in_foreign(view: View, folder: str) -> Iterator[Trouble]:
    """Look for parts of repositories in the folders of another program, or below a bad name."""
    waiting = [folder]
    for _ in range(_MOST_FOREIGN):
        if not waiting:
            return
        at = waiting.pop()
        names = view.folders(at)
        if not _PARTS.isdisjoint(names):
            yield Trouble(folder, _NO_NAME)
            return
        waiting += [f"{at}/{name}" for name in names]
    yield Trouble(folder, _TOO_MUCH)
