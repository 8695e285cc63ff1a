"""Repairing what an entry of a repository's tree found: each only if the entry still finds it.

What is written anew is written while nobody removes, what is removed is removed while nobody
publishes. A deletion of a tag removes beside those who publish, so the links of a tag are written
under the lock of the tag. Written is only what there is no doubt about.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial

from storage import paths
from storage.blobs import use
from storage.concurrency import to_completion
from storage.digest import Digest
from storage.drivers.base import Driver, Editor, Held, Uses, View
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
            if finding.kind in _DEAD:
                return await self._unlink(entry, finding)
            if isinstance(entry, LayerLink | RevisionLink):
                return await self._mend_membership(entry, finding)
            if isinstance(entry, CurrentLink | HistoryLink):
                return await self._mend_tag(entry, finding)
            assert isinstance(entry, ReferrerLink)
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

    async def _mend_tag(self, entry: CurrentLink | HistoryLink, finding: Finding) -> Finding:
        """Mend a link of a tag under the lock that a move and a deletion of the tag take."""
        async with self._driver.lock(paths.tag(entry.name, entry.tag)) as held:
            if isinstance(entry, HistoryLink):
                work = self._rewrite(entry, finding, entry.digest, held)
            elif finding.kind is Kind.DEAD_TAG:
                work = self._remove_tag(entry, finding)
            else:
                work = self._mend_current(entry, finding, held)
            return await to_completion(work)

    async def _mend_current(self, entry: CurrentLink, finding: Finding, held: Held) -> Finding:
        digest = finding.digest or await self._driver.batch(entry.certain)
        if digest is None:
            return finding.left(_DOUBTFUL)
        return await self._rewrite(entry, finding, digest, held)

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

        def check(view: Uses) -> None:
            if held is not None:
                held.check()
            self._look_again(view, entry, finding)
            if not use(view, digest) and not isinstance(entry, HistoryLink):
                raise _Changed

        in_the_way = partial(_is_in_the_way, path=entry.path)
        if finding.kind is Kind.DAMAGED_LINK and await self._driver.batch(in_the_way):
            await self._replace(entry, finding, digest, check)
        else:
            await self._driver.publish((link_to(entry.path, digest),), check=check)
        return finding.mended(_REWRITTEN)

    async def _replace(
        self, entry: Entry, finding: Finding, digest: Digest, check: Callable[[Uses], None]
    ) -> None:
        """Put a link where something is that a file can't replace, and set that aside.

        Both under one hold of the lock: a deletion in between would find no link to remove, and
        the repair would bring back what was deleted.
        """
        ready = f"{paths.TRASH}/{uuid.uuid4().hex}"

        def job(editor: Editor) -> None:
            self._look_again(editor, entry, finding)
            if editor.stat(ready) is None:  # a server that started has emptied the trash
                raise _Changed
            _set_aside(editor, entry.path)
            editor.move(ready, entry.path)

        try:
            await self._driver.publish((link_to(ready, digest),), check=check)
            await self._driver.exclusively(job)
        finally:
            await self._driver.staging.discard(ready)

    def _look_again(self, view: Uses | Editor, entry: Entry, finding: Finding) -> None:
        if entry.look(view, self._contents.recalled()) != finding:
            raise _Changed


def _is_in_the_way(view: View, path: str) -> bool:
    """Tell whether something is in a link's place that is no file."""
    return view.stat(path) is None and view.entry(path) is not None


def _set_aside(editor: Editor, path: str) -> bool:
    """Move away what is in a link's place and is no file; False when that is not so."""
    return _is_in_the_way(editor, path) and editor.move(path, paths.set_aside(path))
