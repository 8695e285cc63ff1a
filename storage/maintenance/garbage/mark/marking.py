"""Marking: which manifests of a repository are kept, why, and what they need.

    tag ─────────▶ manifest          a tagged manifest is kept
    index ───────▶ child             with what it lists
    subject ◀───── referrer          and with what refers to it: signatures, SBOMs

Untagged manifests are kept too, unless `delete_untagged` is set and they are older than the grace
period. Where damage hides what was needed, everything that may have been is kept: a tag whose link
can't be read keeps its whole history, a manifest that can't be read keeps its whole repository.
"""

from __future__ import annotations

from collections.abc import Iterator

from storage.content.links import digests, read_link, tags_in
from storage.drivers.base import Reader
from storage.maintenance.garbage.collection_database import CollectionDatabase
from storage.maintenance.garbage.mark.dependencies import Dependencies, read_dependencies
from storage.values import paths
from storage.values.digest import HEX_LENGTHS, Digest
from storage.values.names import RepositoryName, Tag

UNTAGGED = "untagged"
_YOUNG = "untagged, but within the grace period"
_UNREADABLE = "can't be read, so everything in this repository is kept; scrub may repair it"


def mark(
    reader: Reader, database: CollectionDatabase, name: RepositoryName, *, delete_untagged: bool
) -> bool:
    """Record what is kept of a repository and what is eligible for deletion.

    Returns whether all of its manifests could be read; if not, all of them are kept.
    """
    repository = database.marks.number_of(name)
    for digest in revisions(reader, name):
        _add(reader, database, repository, digest)
    _add_tags(reader, database, name)
    for digest in database.graph.unknown_roots():
        _add_linked_as_blob(reader, database, repository, name, digest)
    damaged = database.marks.first_unreadable(repository)
    _keep(database, damaged, delete_untagged=delete_untagged)
    database.marks.add_kept(repository)
    database.components.mark_for_removal(repository)
    database.graph.clear()
    database.marks.need(repository, _linked_by_unknown_algorithms(reader, name))
    if damaged is not None:
        database.marks.need(repository, linked(reader, name), sure=False)
    database.candidates.add_links(
        repository, _unreferenced_links(reader, database, name, repository)
    )
    return damaged is None


def _add(
    reader: Reader, database: CollectionDatabase, repository: int, digest: Digest
) -> Dependencies | None:
    dependencies = read_dependencies(reader, digest)
    database.graph.add(digest, dependencies)
    if dependencies is None:
        database.marks.add_unreadable(repository, digest)
    return dependencies


def _add_linked_as_blob(
    reader: Reader,
    database: CollectionDatabase,
    repository: int,
    name: RepositoryName,
    digest: Digest,
) -> None:
    """Add a tagged manifest that has only a layer link, and what it lists likewise.

    Early registries linked manifests like this. They can't be pulled here until they are pushed
    again, but their bytes must not be lost.
    """
    waiting = [digest]
    while waiting:
        manifest = waiting.pop()
        if database.graph.has(manifest) or reader.stat(paths.layer_link(name, manifest)) is None:
            continue
        if reader.stat(paths.blob(manifest)) is not None:
            dependencies = _add(reader, database, repository, manifest)
            waiting += dependencies.children if dependencies else ()


def revisions(reader: Reader, name: RepositoryName) -> Iterator[Digest]:
    """Yield the digests of a repository's manifests: those with a link, even a damaged one."""
    for digest in digests(reader, paths.revisions(name)):
        if reader.stat(paths.revision_link(name, digest)) is not None:
            yield digest


def _add_tags(reader: Reader, database: CollectionDatabase, name: RepositoryName) -> None:
    for tag in tags_in(reader, name):
        for digest, reason in _targets(reader, name, tag):
            database.graph.add_root(tag, digest, reason)


def _targets(reader: Reader, name: RepositoryName, tag: Tag) -> Iterator[tuple[Digest, str]]:
    """Yield what a tag points to; if its link is damaged, all that it may point to."""
    link = paths.tag_current_link(name, tag)
    if reader.stat(link) is None:
        return
    digest = read_link(reader, link)
    if digest is not None:
        yield digest, f"tag {tag}"
        return
    for past in digests(reader, paths.tag_history(name, tag)):
        yield past, f"in the history of tag {tag}, whose link is damaged"


def _keep(database: CollectionDatabase, damaged: Digest | None, *, delete_untagged: bool) -> None:
    """Mark the manifests to keep, those with a tag first."""
    graph = database.graph
    graph.keep_tagged()
    if damaged is not None:
        graph.keep_all(f"{damaged} {_UNREADABLE}")
    elif delete_untagged:
        graph.keep_young(_YOUNG)
    else:
        graph.keep_all(UNTAGGED)


def linked(reader: Reader, name: RepositoryName) -> Iterator[Digest]:
    """Yield the digest of each layer link of a repository, and that of its content."""
    for digest in digests(reader, paths.layers(name)):
        yield digest
        yield _content(reader, name, digest)


def _linked_by_unknown_algorithms(reader: Reader, name: RepositoryName) -> Iterator[Digest]:
    """Yield content that is linked by a digest of an algorithm that this registry does not know.

    CNCF distribution accepts sha384, for example, and links it to the sha256 of the bytes. This
    registry cannot tell which manifests name such a digest, so all of this content is kept.
    """
    for algorithm in set(reader.folders(paths.layers(name))).difference(HEX_LENGTHS):
        for hex, is_folder in reader.entries(f"{paths.layers(name)}/{algorithm}"):
            link = paths.foreign_layer_link(name, algorithm, hex)
            content = read_link(reader, link) if is_folder else None
            if content is not None:
                yield content


def _unreferenced_links(
    reader: Reader, database: CollectionDatabase, name: RepositoryName, repository: int
) -> Iterator[tuple[Digest, Digest]]:
    """Yield the layer links that no manifest needs and whose content is old or missing."""
    for digest in digests(reader, paths.layers(name)):
        if reader.stat(paths.layer_link(name, digest)) is None:
            continue
        content = _content(reader, name, digest)
        if database.marks.is_needed(repository, digest):
            if content != digest:
                database.marks.need(repository, (content,))
            continue
        blob = database.blobs.get(content)
        if blob is None or blob.old:
            yield digest, content


def _content(reader: Reader, name: RepositoryName, digest: Digest) -> Digest:
    return read_link(reader, paths.layer_link(name, digest)) or digest
