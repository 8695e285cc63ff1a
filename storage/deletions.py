"""Deleting a manifest with all of its tags, of which there may be ten thousand.

    up to a hundred tags    the tags and the revision link, while nobody publishes
    more                    a note; a hundred tags and the revision link; the other tags; no note

Pushes wait while the tree is held alone, so at most a hundred tags are removed in one go. The note
says which manifest is being deleted: once its revision link is gone a listing leaves out the tags
that lead to it. So readers lose the manifest and all of its tags in one instant, however long the
rest takes. A deletion that is cut off leaves tags that neither answer nor are listed. The same
deletion again removes them, and so do the next collection, and a push of the same manifest before
it brings that back.

What is pushed meanwhile stays: a tag is removed only if it still leads to the manifest, and after
the revision link only while that is gone.
"""

from __future__ import annotations

import errno
import uuid
from collections.abc import Iterable, Sequence
from functools import partial

from storage import paths
from storage.digest import Digest
from storage.drivers.base import Driver, Editor, View
from storage.links import link_to, read_link
from storage.names import RepositoryName, Tag, only_tags

# Each takes some 0.1 ms, for which pushes wait.
AT_ONCE = 100

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class ManifestDeletion:
    """Deletes the manifest `digest` of repository `name`; may be repeated after any failure."""

    def __init__(self, driver: Driver, name: RepositoryName, digest: Digest) -> None:
        self._driver = driver
        self._name = name
        self._digest = digest
        self._link = paths.revision_link(name, digest)

    async def run(self) -> bool:
        """Remove the manifest's link and its tags; return whether there was anything of it."""
        notes = await self._driver.batch(self._notes)
        tags = await self._driver.batch(self._tags)
        if len(tags) > AT_ONCE and not notes:
            notes = await self._write_note()
        existed = await self._driver.exclusively(partial(self._remove, tags[:AT_ONCE]))
        if not existed:  # an earlier deletion may have failed to sync what it removed
            await self._driver.settle(self._link)
            await self._driver.settle(paths.tags(self._name))
        await self._finish(notes)
        return existed or bool(tags or notes)

    async def finish(self) -> None:
        """Do the rest of deletions that were cut off, or are under way."""
        await self._finish(await self._driver.batch(self._notes))

    async def _finish(self, notes: Iterable[str]) -> None:
        """Remove the tags that lead to the manifest, if that is gone, and then `notes`."""
        dead = await self._driver.batch(self._tags)
        for start in range(0, len(dead), AT_ONCE):
            some = dead[start : start + AT_ONCE]
            await self._driver.exclusively(partial(self._remove_dead, some))
        for note in notes:
            await self._driver.exclusively(partial(_remove_file, note))

    def _remove(self, tags: Sequence[Tag], editor: Editor) -> bool:
        self._remove_tags(tags, editor)
        return editor.remove(self._link)

    def _remove_dead(self, tags: Sequence[Tag], editor: Editor) -> None:
        if not _is_member(editor, self._name, self._digest):  # else it was pushed again
            self._remove_tags(tags, editor)

    def _remove_tags(self, tags: Iterable[Tag], editor: Editor) -> None:
        for tag in tags:
            if self._leads_here(editor, tag):
                editor.remove(paths.tag(self._name, tag))

    def _tags(self, view: View) -> list[Tag]:
        """Find every tag that leads to the manifest now."""
        tags = map(Tag, only_tags(view.folders(paths.tags(self._name))))
        return [tag for tag in tags if self._leads_here(view, tag)]

    def _leads_here(self, view: View, tag: Tag) -> bool:
        return read_link(view, paths.tag_current_link(self._name, tag)) == self._digest

    def _notes(self, view: View) -> list[str]:
        """Find the notes of deletions of the manifest that were cut off, or are under way."""
        return [note for note, digest in noted(view, self._name) if digest == self._digest]

    async def _write_note(self) -> list[str]:
        """Note that the manifest is being deleted; a disk without room for that has none."""
        note = f"{paths.deletions(self._name)}/{uuid.uuid4().hex}"
        try:
            await self._driver.publish((link_to(note, self._digest),))
        except OSError as error:
            if error.errno not in _FULL:
                raise
            return []
        return [note]


def is_left_undone(view: View, name: RepositoryName, digest: Digest) -> bool:
    """Tell whether a manifest is gone, and tags that lead to it may be there."""
    return digest in being_deleted(view, name) and not _is_member(view, name, digest)


def noted(view: View, name: RepositoryName) -> list[tuple[str, Digest]]:
    """Return the note of each deletion that has one, and the manifest it is about."""
    folder = paths.deletions(name)
    found = [(f"{folder}/{one}", read_link(view, f"{folder}/{one}")) for one in view.names(folder)]
    return [(note, digest) for note, digest in found if digest is not None]


def being_deleted(view: View, name: RepositoryName) -> set[Digest]:
    """Return the manifests whose deletion has a note; some may not be gone yet, or be back."""
    return {digest for _, digest in noted(view, name)}


def gone(view: View, name: RepositoryName, digests: Iterable[Digest]) -> frozenset[Digest]:
    """Return those that are no members of a repository."""
    return frozenset(digest for digest in digests if not _is_member(view, name, digest))


def _is_member(view: View, name: RepositoryName, digest: Digest) -> bool:
    return read_link(view, paths.revision_link(name, digest)) == digest


def _remove_file(path: str, editor: Editor) -> None:
    editor.remove(path)
