"""Repairs of the findings in repositories, each only if a check under a lock confirms it.

Links are rewritten under the shared tree lock, and removed under the exclusive one. The deletion of
a tag takes only the shared tree lock, so the links of a tag are written under the tag's lock as
well. A link is only written if its content is certain.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial

from storage.concurrency.cancellation import to_completion
from storage.content.blob_store import touch
from storage.content.links import link_change
from storage.drivers.base import Driver, ExclusiveEditor, FolderLock, Reader, TouchingReader
from storage.errors import PathNotFound, raise_if_exhausted, reason_of
from storage.maintenance.scrub.checks.link_checks import (
    Checkable,
    LayerLink,
    RevisionLink,
    read_text,
)
from storage.maintenance.scrub.checks.referrer_checks import ReferrerLink
from storage.maintenance.scrub.checks.tag_checks import CurrentLink, HistoryLink
from storage.maintenance.scrub.findings import Finding, Kind
from storage.maintenance.scrub.reading.blob_contents import Contents, examine
from storage.maintenance.scrub.reading.read_rate import ReadRate
from storage.values import paths
from storage.values.digest import Digest

_REWRITTEN = "rewritten"
_REMOVED = "removed"
_DOUBTFUL = "push the tag again or delete it; its history names more than one manifest"
_NOTHING_STORED = "not removed: the storage has no blobs; is the whole volume mounted?"
_HAS_FOREIGN = "not removed: its folder contains foreign files"

_DEAD = frozenset({Kind.DEAD_LINK, Kind.ORPHANED_LINK, Kind.STALE_HISTORY, Kind.STALE_REFERRER})
_TAG_FOLDERS = frozenset({paths.CURRENT, paths.HISTORY})


class _Changed(Exception):
    """The entry has changed since the finding."""


class Repairer:
    """Repairs findings; removes nothing unless `may_remove` is true."""

    def __init__(
        self, driver: Driver, contents: Contents, rate: ReadRate, *, may_remove: bool
    ) -> None:
        self._driver = driver
        self._contents = contents
        self._rate = rate
        self._may_remove = may_remove

    async def repair(self, entry: Checkable, finding: Finding) -> Finding | None:
        """Repair a finding; return it, repaired or not, or None if it is outdated."""
        try:
            if finding.kind is Kind.UNREADABLE:
                return finding
            if finding.kind in _DEAD:
                return await self._unlink(entry, finding)
            if isinstance(entry, LayerLink | RevisionLink):
                return await self._repair_membership(entry, finding)
            if isinstance(entry, CurrentLink | HistoryLink):
                return await self._repair_tag(entry, finding)
            assert isinstance(entry, ReferrerLink)
            return await self._rewrite(entry, finding, entry.digest)
        except (_Changed, PathNotFound):
            return None
        except OSError as error:
            raise_if_exhausted(error)
            return finding.as_left(f"not repaired: {reason_of(error)}")

    async def _repair_membership(
        self, entry: LayerLink | RevisionLink, finding: Finding
    ) -> Finding | None:
        """Rewrite a link if its content exists and is intact, else remove it."""
        if finding.kind is Kind.UNTIDY_LINK:
            text = await self._driver.batch(lambda reader: read_text(reader, entry.path))
            named = text.digest if text else None
            return await self._rewrite(entry, finding, named) if named else None
        examined = await examine(self._driver, entry.digest, self._rate)
        if examined.actual == entry.digest:
            return await self._rewrite(entry, finding, entry.digest)
        return await self._unlink(entry, finding)

    async def _repair_tag(self, entry: CurrentLink | HistoryLink, finding: Finding) -> Finding:
        """Repair a link of a tag under the lock that moves and deletions of the tag take."""
        async with self._driver.lock(paths.tag(entry.name, entry.tag)) as lock:
            if isinstance(entry, HistoryLink):
                work = self._rewrite(entry, finding, entry.digest, lock)
            elif finding.kind is Kind.DEAD_TAG:
                work = self._remove_tag(entry, finding)
            else:
                work = self._repair_current(entry, finding, lock)
            return await to_completion(work)

    async def _repair_current(
        self, entry: CurrentLink, finding: Finding, lock: FolderLock
    ) -> Finding:
        digest = finding.digest or await self._driver.batch(entry.certain)
        if digest is None:
            return finding.as_left(_DOUBTFUL)
        return await self._rewrite(entry, finding, digest, lock)

    async def _remove_tag(self, entry: CurrentLink, finding: Finding) -> Finding:
        if not self._may_remove:
            return finding.as_left(_NOTHING_STORED)
        folder = paths.tag(entry.name, entry.tag)

        def job(editor: ExclusiveEditor) -> Finding:
            self._look_again(editor, entry, finding)
            if any(child.name not in _TAG_FOLDERS for child in editor.entries(folder)):
                return finding.as_left(_HAS_FOREIGN)
            editor.remove(folder)
            return finding.as_repaired("the tag was removed")

        return await self._driver.exclusively(job)

    async def _unlink(self, entry: Checkable, finding: Finding) -> Finding:
        if not self._may_remove:
            return finding.as_left(_NOTHING_STORED)

        def job(editor: ExclusiveEditor) -> Finding:
            self._look_again(editor, entry, finding)
            if not _set_aside(editor, entry.path):
                editor.remove(entry.path)
            return finding.as_repaired(_REMOVED)

        return await self._driver.exclusively(job)

    async def _rewrite(
        self, entry: Checkable, finding: Finding, digest: Digest, lock: FolderLock | None = None
    ) -> Finding:
        """Write a link to `digest`, and touch its blob, so that no collection deletes it."""

        def check(reader: TouchingReader) -> None:
            if lock is not None:
                lock.check()
            self._look_again(reader, entry, finding)
            if not touch(reader, digest) and not isinstance(entry, HistoryLink):
                raise _Changed

        is_obstructed = partial(_is_obstructed, path=entry.path)
        if finding.kind is Kind.DAMAGED_LINK and await self._driver.batch(is_obstructed):
            await self._replace(entry, finding, digest, check)
        else:
            await self._driver.publish((link_change(entry.path, digest),), check=check)
        return finding.as_repaired(_REWRITTEN)

    async def _replace(
        self,
        entry: Checkable,
        finding: Finding,
        digest: Digest,
        check: Callable[[TouchingReader], None],
    ) -> None:
        """Write a link to a path that is no regular file, after moving that aside.

        Both happen under one exclusive lock. A deletion in between would find no link to remove,
        and the repair would restore what was deleted.
        """
        ready = f"{paths.TRASH}/{uuid.uuid4().hex}"

        def job(editor: ExclusiveEditor) -> None:
            self._look_again(editor, entry, finding)
            if editor.stat(ready) is None:  # a starting server has emptied the trash
                raise _Changed
            _set_aside(editor, entry.path)
            editor.move(ready, entry.path)

        try:
            await self._driver.publish((link_change(ready, digest),), check=check)
            await self._driver.exclusively(job)
        finally:
            await self._driver.staging.discard(ready)

    def _look_again(
        self, reader: TouchingReader | ExclusiveEditor, entry: Checkable, finding: Finding
    ) -> None:
        if entry.look(reader, self._contents.without_reading()) != finding:
            raise _Changed


def _is_obstructed(reader: Reader, path: str) -> bool:
    """Return whether the path of a link exists and is no regular file."""
    return reader.stat(path) is None and reader.entry(path) is not None


def _set_aside(editor: ExclusiveEditor, path: str) -> bool:
    """Move aside what is at the path of a link, if it is no regular file; return whether it was."""
    return _is_obstructed(editor, path) and editor.move(path, paths.set_aside(path))
