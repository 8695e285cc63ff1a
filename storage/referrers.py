"""Which manifests of a repository have a given subject: an index of links that can be rebuilt.

Our own pushes keep it complete. Content that came by another way (an older registry on the same
volume, a copied folder) is found by comparing when the folders of revisions last changed with
what was noted after the last scan. A scan reads each manifest once per process; what its subject
is never changes. Manifests listed under the spec's referrers tag schema are revisions of the
repository like any other, so the scan finds them too (spec, "Enabling the Referrers API").

Nothing of the index waits for the disk, neither what a push adds nor what a scan finds: after a
power cut the note is of another boot, and the scan is repeated. Where nothing can be written what
is found is still listed.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, field
from typing import TypeAlias

from storage import paths
from storage.boot import this_boot
from storage.cache import Lru
from storage.digest import HEX_LENGTHS, Digest
from storage.drivers.base import Driver, View
from storage.drivers.changes import Note
from storage.errors import ManifestInvalid, OperationDisabled, PathNotFound
from storage.links import digests, read_link
from storage.listing import Page
from storage.manifest_store import load
from storage.manifests import Descriptor, Manifest, StoredManifest
from storage.names import RepositoryName
from storage.stored_manifests import read_stored

logger = logging.getLogger(__name__)

# A page must fit what clients accept for an index; a descriptor is smaller than its manifest.
PAGE_BYTES = 3 << 20
# A change this recent may share its timestamp with one yet to come (clocks tick coarsely).
_SETTLED_NS = 2_000_000_000

Scanned: TypeAlias = dict[str, int | str]
# Roughly what a descriptor without annotations takes.
_DESCRIPTOR_COST = 512


@dataclass(frozen=True, slots=True)
class Memory:
    """What one process remembers of manifests: facts about content, shared by all repositories.

    A subject is in a tuple so that "none" can be remembered as well.
    """

    subjects: Lru[Digest, tuple[Digest | None]] = field(
        default_factory=lambda: Lru(limit=200_000, cost=lambda _: 1)
    )
    descriptors: Lru[Digest, Descriptor] = field(
        default_factory=lambda: Lru(limit=32 << 20, cost=_cost)
    )


def _cost(descriptor: Descriptor) -> int:
    texts = descriptor.annotations.items()
    return _DESCRIPTOR_COST + sum(len(key) + len(value) for key, value in texts)


@dataclass(slots=True)
class _Scan:
    """What a scan found.

    It is not `complete` if it met a revision that may yet become a referrer without any folder's
    timestamp changing, such as one whose bytes can't be read now: then the next one looks again.
    """

    unlisted: list[tuple[Digest, Digest]] = field(default_factory=list)
    complete: bool = True


class ReferrerStore:
    """The referrers of repository `name`."""

    def __init__(self, driver: Driver, memory: Memory, name: RepositoryName) -> None:
        self._driver = driver
        self._memory = memory
        self._name = name

    def add(self, subject: Digest, referrer: Digest) -> Note:
        """Return the change that records that `referrer`, which is durable, has `subject`."""
        return Note(paths.referrer_link(self._name, subject, referrer), str(referrer).encode())

    async def page(
        self, subject: Digest, artifact_type: str | None, after: str, limit: int
    ) -> Page[Descriptor]:
        """List referrers in the order of their digests, those behind `after`, of one type."""
        unlisted = await self._catch_up()
        extra = {referrer for referrer, of in unlisted if of == subject}
        return await self._driver.batch(
            lambda view: self._page(
                view, self._ordered(view, subject, after, extra), artifact_type, limit
            )
        )

    def _ordered(self, view: View, subject: Digest, after: str, extra: set[Digest]) -> list[Digest]:
        listed = extra.union(digests(view, paths.referrers(self._name, subject)))
        return sorted((one for one in listed if str(one) > after), key=str)

    def _page(
        self, view: View, referrers: list[Digest], artifact_type: str | None, limit: int
    ) -> Page[Descriptor]:
        found: list[Descriptor] = []
        budget = PAGE_BYTES
        for referrer in referrers:
            descriptor = self._descriptor(view, referrer)
            if descriptor is None or artifact_type not in (None, descriptor.artifact_type):
                continue
            if not self._is_member(view, referrer):
                continue
            budget -= _cost(descriptor)
            if found and (budget < 0 or len(found) == limit):
                return Page(tuple(found), more=True)
            found.append(descriptor)
        return Page(tuple(found))

    def _is_member(self, view: View, digest: Digest) -> bool:
        return read_link(view, paths.revision_link(self._name, digest)) == digest

    def _descriptor(self, view: View, digest: Digest) -> Descriptor | None:
        known = self._memory.descriptors.get(digest)
        if known is None:
            manifest = _parse(load(view, digest))
            if manifest is not None:
                known = manifest.describe(digest)
                self._memory.descriptors.put(digest, known)
        return known

    async def _catch_up(self) -> list[tuple[Digest, Digest]]:
        """Return referrers, with their subjects, that were not in the index; put them there."""
        changed, noted = await self._driver.batch(self._changes)
        if len(changed) > 1 and changed == noted:
            return []
        scan = await self._driver.batch(self._scan)
        try:
            await self._heal(scan, changed)
        except (OSError, OperationDisabled) as error:
            logger.warning("the referrers index of %s was not written: %s", self._name, error)
        return scan.unlisted

    async def _heal(self, scan: _Scan, changed: Scanned) -> None:
        for referrer, subject in scan.unlisted:
            link = paths.referrer_link(self._name, subject, referrer)
            await self._driver.note(link, str(referrer).encode())
        times = [at for at in changed.values() if isinstance(at, int)]
        settled = time.time_ns() - max(times, default=0) > _SETTLED_NS
        if times and settled and scan.complete:
            note = json.dumps(changed).encode()
            await self._driver.note(paths.referrers_scanned(self._name), note)

    def _changes(self, view: View) -> tuple[Scanned, object]:
        folder = paths.revisions(self._name)
        times = {alg: view.modified(f"{folder}/{alg}") for alg in HEX_LENGTHS}
        changed: Scanned = {alg: at for alg, at in times.items() if at is not None}
        try:
            noted = json.loads(view.read(paths.referrers_scanned(self._name)))
        except (PathNotFound, ValueError):
            noted = None
        return {"boot": this_boot(), **changed}, noted

    def _scan(self, view: View) -> _Scan:
        """Find manifests with a subject that the index does not have yet."""
        scan = _Scan()
        for referrer in digests(view, paths.revisions(self._name)):
            known = self._subject(view, referrer)
            if known is None:
                scan.complete = False
            elif known[0] is not None:
                self._compare(view, scan, referrer, known[0])
        return scan

    def _compare(self, view: View, scan: _Scan, referrer: Digest, subject: Digest) -> None:
        if not self._is_member(view, referrer):
            # If it comes back its folder is there already, and no timestamp will tell.
            scan.complete = False
        elif read_link(view, paths.referrer_link(self._name, subject, referrer)) != referrer:
            scan.unlisted.append((referrer, subject))

    def _subject(self, view: View, digest: Digest) -> tuple[Digest | None] | None:
        """Return a manifest's subject, in a tuple; None when the manifest can't be read (yet)."""
        known = self._memory.subjects.get(digest)
        if known is None:
            stored = load(view, digest)
            if stored is None:
                return None
            manifest = _parse(stored)
            known = (manifest.subject.digest if manifest and manifest.subject else None,)
            self._memory.subjects.put(digest, known)
        return known


def _parse(stored: StoredManifest | None) -> Manifest | None:
    try:
        return None if stored is None else read_stored(stored.raw).manifest
    except ManifestInvalid:
        return None
