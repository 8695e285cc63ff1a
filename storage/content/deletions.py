"""Deletes a manifest with all of its tags, of which there may be ten thousand.

    up to a hundred tags    one step removes the tags and the revision link
    more                    a note is written; one step removes a hundred tags and the revision
                            link; further steps remove the other tags, then the note

Each step holds the exclusive tree lock. Pushes wait for that lock, so a step removes at most a
hundred tags. The note names the manifest that is being deleted: once its revision link is removed,
a listing leaves out the tags that point to it. So for readers the manifest and all of its tags
disappear atomically, however long the other steps take.

An interrupted deletion leaves tags that can be neither pulled nor listed. They are removed when the
deletion is repeated, by the next collection, or by a push of the same manifest before it stores the
manifest again.

A concurrent push is kept. A tag is removed only if it still points to the manifest and, after the
revision link was removed, only while that link is missing.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from functools import partial

from storage.content.links import is_member, link_change, read_link
from storage.drivers.base import Driver, ExclusiveEditor, Reader
from storage.errors import DISK_FULL
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import RepositoryName, Tag, only_tags

# Tags that one step removes. Each takes about 0.1 ms, during which pushes wait.
AT_ONCE = 100


class ManifestDeletion:
    """Deletes manifest `digest` of repository `name`; it can be repeated after any failure."""

    def __init__(self, driver: Driver, name: RepositoryName, digest: Digest) -> None:
        self._driver = driver
        self._name = name
        self._digest = digest
        self._link = paths.revision_link(name, digest)

    async def run(self) -> bool:
        """Remove the manifest's link and its tags; return whether a link, tag or note existed."""
        notes = await self._driver.batch(self._notes)
        tags = await self._driver.batch(self._tags)
        if len(tags) > AT_ONCE and not notes:
            notes = await self._write_note()
        existed = await self._driver.exclusively(partial(self._remove, tags[:AT_ONCE]))
        if not existed:  # the fsync of an earlier deletion may have failed
            await self._driver.sync_removals(self._link)
            await self._driver.sync_removals(paths.tags(self._name))
        await self._finish(notes)
        return existed or bool(tags or notes)

    async def finish(self) -> None:
        """Complete deletions of the manifest that were interrupted or are running."""
        await self._finish(await self._driver.batch(self._notes))

    async def _finish(self, notes: Iterable[str]) -> None:
        """Remove the tags that point to the manifest, if it is deleted, and then `notes`."""
        tags = await self._driver.batch(self._tags)
        for start in range(0, len(tags), AT_ONCE):
            batch = tags[start : start + AT_ONCE]
            await self._driver.exclusively(partial(self._remove_dead, batch))
        for note in notes:
            await self._driver.exclusively(partial(_remove_file, note))

    def _remove(self, tags: Sequence[Tag], editor: ExclusiveEditor) -> bool:
        self._remove_tags(tags, editor)
        return editor.remove(self._link)

    def _remove_dead(self, tags: Sequence[Tag], editor: ExclusiveEditor) -> None:
        if not is_member(editor, self._name, self._digest):  # otherwise it was pushed again
            self._remove_tags(tags, editor)

    def _remove_tags(self, tags: Iterable[Tag], editor: ExclusiveEditor) -> None:
        for tag in tags:
            if self._points_here(editor, tag):
                editor.remove(paths.tag(self._name, tag))

    def _tags(self, reader: Reader) -> list[Tag]:
        """Return every tag that points to the manifest."""
        tags = map(Tag, only_tags(reader.folders(paths.tags(self._name))))
        return [tag for tag in tags if self._points_here(reader, tag)]

    def _points_here(self, reader: Reader, tag: Tag) -> bool:
        return read_link(reader, paths.tag_current_link(self._name, tag)) == self._digest

    def _notes(self, reader: Reader) -> list[str]:
        """Return the notes of deletions of the manifest that were interrupted or are running."""
        return [
            note for note, digest in deletion_notes(reader, self._name) if digest == self._digest
        ]

    async def _write_note(self) -> list[str]:
        """Write a note about the deletion; return none on a full disk, where none can be made."""
        note = f"{paths.deletions(self._name)}/{uuid.uuid4().hex}"
        try:
            await self._driver.publish((link_change(note, self._digest),))
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            return []
        return [note]


def is_partly_deleted(reader: Reader, name: RepositoryName, digest: Digest) -> bool:
    """Return whether a manifest is deleted, but some of its tags may remain."""
    return digest in pending_deletions(reader, name) and not is_member(reader, name, digest)


def deletion_notes(reader: Reader, name: RepositoryName) -> list[tuple[str, Digest]]:
    """Return the path of each deletion note, and the manifest that it names."""
    folder = paths.deletions(name)
    # A temporary file is a note that is still being written.
    notes = [f"{folder}/{file}" for file in reader.names(folder) if not paths.is_temporary(file)]
    named = [(note, read_link(reader, note)) for note in notes]
    return [(note, digest) for note, digest in named if digest is not None]


def pending_deletions(reader: Reader, name: RepositoryName) -> set[Digest]:
    """Return the manifests that deletion notes name; some may be members, still or again."""
    return {digest for _, digest in deletion_notes(reader, name)}


def not_members(
    reader: Reader, name: RepositoryName, digests: Iterable[Digest]
) -> frozenset[Digest]:
    """Return those of `digests` that are not members of a repository."""
    return frozenset(digest for digest in digests if not is_member(reader, name, digest))


def _remove_file(path: str, editor: ExclusiveEditor) -> None:
    editor.remove(path)
