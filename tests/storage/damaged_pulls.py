"""Everything that can be pulled from a damaged tree, and the foreign files in it.

Names are found by listing folders, and requested as a client of a new server does.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from storage.drivers.base import Driver
from storage.errors import BlobUnknown, DigestInvalid, ManifestInvalid, ManifestUnknown, NameInvalid
from storage.maintenance.scrub.findings import Kind
from storage.repository.registry import StoredRegistry
from storage.values import paths
from storage.values.digest import Digest
from storage.values.manifests import parse_manifest
from storage.values.names import RepositoryName, Tag
from tests.storage.content import pull_blob
from tests.storage.damaged_tree import DamagedTree

LONG_AGO = 7200  # seconds

# What can be pulled: a repository, a reference, and the bytes of the answer.
Pulled: TypeAlias = dict[tuple[RepositoryName, Digest | Tag], bytes]


def age(root: Path) -> None:
    """Make everything older than any grace period."""
    then = time.time() - LONG_AGO
    for folder, folders, names in os.walk(root):
        for one in (*folders, *names):
            with suppress(OSError):  # no system call takes a path that is too long
                os.utime(f"{folder}/{one}", (then, then), follow_symlinks=False)


def members(root: Path) -> set[tuple[RepositoryName, Digest | Tag]]:
    """Return everything that might be pulled."""
    return set(_members(root / paths.REPOSITORIES))


def _members(top: Path) -> Iterator[tuple[RepositoryName, Digest | Tag]]:
    for folder, folders, _ in os.walk(top):
        if not {"_layers", "_manifests"}.intersection(folders):
            continue
        with suppress(NameInvalid):
            one = RepositoryName.parse(os.path.relpath(folder, top))
            yield from ((one, Tag(tag)) for tag in _listed(Path(folder, "_manifests/tags")))
            for kind in ("_layers", "_manifests/revisions"):
                yield from ((one, digest) for digest in _digests(Path(folder, kind)))


def _digests(folder: Path) -> Iterator[Digest]:
    for algorithm in ("sha256", "sha512"):
        for hex in _listed(folder / algorithm):
            with suppress(DigestInvalid):
                yield Digest.parse(f"{algorithm}:{hex}")


def _listed(folder: Path) -> list[str]:
    return sorted(os.listdir(folder)) if folder.is_dir() else []


async def pulled(driver: Driver, root: Path) -> Pulled:
    """Pull everything."""
    registry, found = StoredRegistry(driver), Pulled()
    for one, reference in members(root):
        repository = registry.repository(one)
        with suppress(ManifestUnknown):
            found[one, reference] = (await repository.manifests.get(reference)).raw
        if isinstance(reference, Digest):
            with suppress(BlobUnknown):
                found.setdefault((one, reference), await pull_blob(repository, reference))
    return found


def needed(everything: Pulled, *, delete_untagged: bool) -> Pulled:
    """Return the manifests, or with `delete_untagged` the tagged ones, with their references."""
    kept, waiting = Pulled(), list(everything)
    if delete_untagged:
        waiting = [key for key in everything if isinstance(key[1], Tag)]
    while waiting:
        key = waiting.pop()
        with suppress(ManifestInvalid, KeyError):
            manifest = parse_manifest(everything[key])
            kept[key] = everything[key]
            named = [(key[0], one.digest) for one in (*manifest.blobs, *manifest.children)]
            kept |= {one: everything[one] for one in named if one in everything}
    return kept


def foreign_content(tree: DamagedTree) -> dict[str, object]:
    """Map each foreign file and folder, and all below it, to its type and content.

    Empty folders are left out: their origin is unknown, and collections remove them.
    """
    found: dict[str, object] = {}
    for kind, path in tree.found:
        if kind is Kind.FOREIGN:
            found.update(_all_of(f"{tree.root}/{path}"))
    return found


def _all_of(top: str) -> Iterator[tuple[str, object]]:
    if os.path.islink(top) or not os.path.isdir(top):
        yield top, _state(top)
    for folder, folders, names in os.walk(top):
        if folders or names:
            yield folder, "a folder"
        links = [one for one in folders if os.path.islink(f"{folder}/{one}")]
        yield from ((f"{folder}/{one}", _state(f"{folder}/{one}")) for one in (*links, *names))


def _state(path: str) -> object:
    state = os.lstat(path)
    if stat.S_ISLNK(state.st_mode):
        return os.readlink(path)
    return Path(path).read_bytes() if stat.S_ISREG(state.st_mode) else stat.S_IFMT(state.st_mode)
