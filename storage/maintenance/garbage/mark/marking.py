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

from storage.content.links import digests, tags_in
from storage.drivers.base import Reader
from storage.maintenance.garbage.collection_database import CollectionDatabase
from storage.maintenance.garbage.mark.dependencies import Dependencies, read_dependencies
from storage.maintenance.garbage.mark.repository_links import (
    content_of_link,
    linked,
    linked_by_unknown_algorithms,
    revisions,
    targets_of,
)
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import RepositoryName

UNTAGGED = "untagged"
_YOUNG = "untagged, but within the grace period"
_UNREADABLE = "can't be read, so everything in this repository is kept; scrub may repair it"


def mark(
    reader: Reader, database: CollectionDatabase, name: RepositoryName, *, delete_untagged: bool
) -> bool:
    """Record what is kept of a repository and what is eligible for deletion.

    Returns whether all of its manifests could be read; if not, all of them are kept.
    """
    return _Marking(reader, database, name).run(delete_untagged=delete_untagged)


class _Marking:
    """The marking of one repository."""

    def __init__(self, reader: Reader, database: CollectionDatabase, name: RepositoryName) -> None:
        self._reader = reader
        self._database = database
        self._graph = database.graph
        self._marks = database.marks
        self._name = name
        self._number = database.marks.number_of(name)

    def run(self, *, delete_untagged: bool) -> bool:
        """Do as `mark`."""
        self._add_manifests()
        damaged = self._marks.first_unreadable(self._number)
        self._keep(damaged, delete_untagged=delete_untagged)
        self._marks.add_kept(self._number)
        self._database.components.mark_for_removal(self._number)
        self._graph.clear()
        self._marks.need(self._number, linked_by_unknown_algorithms(self._reader, self._name))
        if damaged is not None:
            self._marks.need(self._number, linked(self._reader, self._name), sure=False)
        self._database.candidates.add_links(self._number, self._unreferenced_links())
        return damaged is None

    def _add_manifests(self) -> None:
        """Fill the graph with the manifests and tags of the repository."""
        for digest in revisions(self._reader, self._name):
            self._add(digest)
        for tag in tags_in(self._reader, self._name):
            for digest, reason in targets_of(self._reader, self._name, tag):
                self._graph.add_root(tag, digest, reason)
        for digest in self._graph.unknown_roots():
            self._add_linked_as_blob(digest)

    def _add(self, digest: Digest) -> Dependencies | None:
        dependencies = read_dependencies(self._reader, digest)
        self._graph.add(digest, dependencies)
        if dependencies is None:
            self._marks.add_unreadable(self._number, digest)
        return dependencies

    def _add_linked_as_blob(self, digest: Digest) -> None:
        """Add a tagged manifest that has only a layer link, and what it lists likewise.

        Early registries linked manifests like this. They can't be pulled here until they are pushed
        again, but their bytes must not be lost.
        """
        waiting = [digest]
        while waiting:
            manifest = waiting.pop()
            if self._graph.has(manifest) or not self._has_layer_link(manifest):
                continue
            if self._reader.stat(paths.blob(manifest)) is not None:
                dependencies = self._add(manifest)
                waiting += dependencies.children if dependencies else ()

    def _keep(self, damaged: Digest | None, *, delete_untagged: bool) -> None:
        """Mark the manifests to keep, those with a tag first."""
        self._graph.keep_tagged()
        if damaged is not None:
            self._graph.keep_all(f"{damaged} {_UNREADABLE}")
        elif delete_untagged:
            self._graph.keep_young(_YOUNG)
        else:
            self._graph.keep_all(UNTAGGED)

    def _unreferenced_links(self) -> Iterator[tuple[Digest, Digest]]:
        """Yield the layer links that no manifest needs and whose content is old or missing."""
        for digest in digests(self._reader, paths.layers(self._name)):
            if not self._has_layer_link(digest):
                continue
            content = content_of_link(self._reader, self._name, digest)
            if self._marks.is_needed(self._number, digest):
                if content != digest:
                    self._marks.need(self._number, (content,))
                continue
            blob = self._database.blobs.get(content)
            if blob is None or blob.old:
                yield digest, content

    def _has_layer_link(self, digest: Digest) -> bool:
        return self._reader.stat(paths.layer_link(self._name, digest)) is not None
