"""Repairing what an entry of a repository's tree found: each only if the entry still finds it.

What is written anew is written while nobody removes, what is removed is removed while nobody
publishes, and a tag is touched under its lock. Written is only what there is no doubt about.
"""

from __future__ import annotations

from storage import paths
from storage.blobs import use
from storage.concurrency import to_completion
from storage.digest import Digest
from storage.drivers.base import Driver, Editor, Held, Uses
from storage.errors import PathNotFound, raise_if_exhausted, reason_of
from storage.links import link_to
from storage.maintenance.scrub.contents import Contents, examine
from storage.maintenance.scrub.findings import Finding, Kind
from storage.maintenance.scrub.links import Entry, LayerLink, RevisionLink, read_text
from storage.maintenance.scrub.pace import Pace
from storage.maintenance.scrub.referrers import ReferrerLink
from storage.maintenance.scrub.tags import CurrentLink, HistoryLink

_REWRITTEN = "written anew"
_REMOVED = "removed"
_DOUBTFUL = "push the tag again or delete it; its history names more than one manifest"
_NOTHING_STORED = "not removed: there is no blob at all, is the whole volume mounted?"
_NOT_ALONE = "not removed: something else is in its folder"

_DEAD = frozenset({Kind.DEAD_LINK, Kind.ORPHANED_LINK, Kind.STALE_HISTORY, Kind.STALE_REFERRER})
_TAG_FOLDERS = frozenset({paths.CURRENT, paths.HISTORY})


class _Changed(Exception):
    """The entry finds something else by now."""


class Mender:
    """Repairs entries; removes none unless it `may_remove`."""

    def __init__(self, driver: Driver, contents: Contents, pace: Pace, *, may_remove: bool) -> None:
        self._driver = driver
        self._contents = contents
        self._pace = pace
        self._may_remove = may_remove

    async def mend(self, entry: Entry, finding: Finding) -> Finding | None:
        """Repair what `entry` found; return what became of it, None if it was so no longer."""
        try:
            if finding.kind is Kind.UNREADABLE:
                return finding
            if isinstance(entry, CurrentLink):
                return await self._mend_tag(entry, finding)
            if finding.kind in _DEAD:
                return await self._unlink(entry, finding)
            if isinstance(entry, LayerLink | RevisionLink):
                return await self._mend_membership(entry, finding)
            assert isinstance(entry, HistoryLink | ReferrerLink)
            return await self._rewrite(entry, finding, entry.digest)
        except (_Changed, PathNotFound):
            return None
        except OSError as error:
            raise_if_exhausted(error)
            return finding.left(f"not repaired: {reason_of(error)}")

    async def _mend_membership(
        self, entry: LayerLink | RevisionLink, finding: Finding
    ) -> Finding | None:
        """Write a link anew if the bytes in question are there and sound, else remove it."""
        if finding.kind is Kind.UNTIDY_LINK:
            text = await self._driver.batch(lambda view: read_text(view, entry.path))
            named = text.digest if text else None
            return await self._rewrite(entry, finding, named) if named else None
        examined = await examine(self._driver, entry.digest, self._pace)
        if examined.actual == entry.digest:
            return await self._rewrite(entry, finding, entry.digest)
        return await self._unlink(entry, finding)

    async def _mend_tag(self, entry: CurrentLink, finding: Finding) -> Finding | None:
        async with self._driver.lock(paths.tag(entry.name, entry.tag)) as held:
            if finding.kind is Kind.DEAD_TAG:
                return await to_completion(self._remove_tag(entry, finding))
            digest = finding.digest or await self._driver.batch(entry.certain)
            if digest is None:
                return finding.left(_DOUBTFUL)
            return await to_completion(self._rewrite(entry, finding, digest, held))

    async def _remove_tag(self, entry: CurrentLink, finding: Finding) -> Finding:
        if not self._may_remove:
            return finding.left(_NOTHING_STORED)
        folder = paths.tag(entry.name, entry.tag)

        def job(editor: Editor) -> Finding:
            self._look_again(editor, entry, finding)
            if any(one.name not in _TAG_FOLDERS for one in editor.entries(folder)):
                return finding.left(_NOT_ALONE)
            editor.remove(folder)
            return finding.mended("the tag was removed")

        return await self._driver.exclusively(job)

    async def _unlink(self, entry: Entry, finding: Finding) -> Finding:
        if not self._may_remove:
            return finding.left(_NOTHING_STORED)

        def job(editor: Editor) -> Finding:
            self._look_again(editor, entry, finding)
            if not _set_aside(editor, entry.path):
                editor.remove(entry.path)
            return finding.mended(_REMOVED)

        return await self._driver.exclusively(job)

    async def _rewrite(
        self, entry: Entry, finding: Finding, digest: Digest, held: Held | None = None
    ) -> Finding:
        """Have a link name `digest`; its bytes count as used, so that no collection takes them."""

        def make_room(editor: Editor) -> bool:
            self._look_again(editor, entry, finding)
            return _set_aside(editor, entry.path)

        def check(view: Uses) -> None:
            if held is not None:
                held.check()
            if not made_room:
                self._look_again(view, entry, finding)
            if not use(view, digest) and not isinstance(entry, HistoryLink):
                raise _Changed

        made_room = finding.kind is Kind.DAMAGED_LINK and await self._driver.exclusively(make_room)
        await self._driver.publish((link_to(entry.path, digest),), check=check)
        return finding.mended(_REWRITTEN)

    def _look_again(self, view: Uses | Editor, entry: Entry, finding: Finding) -> None:
        if entry.look(view, self._contents.recalled()) != finding:
            raise _Changed


def _set_aside(editor: Editor, path: str) -> bool:
    """Move away what is in a link's place and is no file; False when that is not so."""
    if editor.stat(path) is not None or editor.entry(path) is None:
        return False
    return editor.move(path, paths.set_aside(path))
