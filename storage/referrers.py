"""Which manifests of a repository have a given subject: an index of links that can be rebuilt.

Our own pushes keep it complete. Content that came by another way (an older registry on the same
volume, a copied folder) is found by comparing when the folders of revisions last changed with
what was noted after the last scan. A scan reads each manifest once per process; what its subject
is never changes. Manifests listed under the spec's referrers tag schema are revisions of the
repository like any other, so the scan finds them too (spec, "Enabling the Referrers API").
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from storage import paths
from storage.cache import Lru
from storage.digest import HEX_LENGTHS, Digest
from storage.drivers.base import Driver, View
from storage.errors import DigestInvalid, ManifestInvalid, PathNotFound
from storage.links import Links, read_link
from storage.listing import Page
from storage.manifest_store import ManifestStore, load, parse
from storage.manifests import Descriptor, Manifest, parse_manifest
from storage.names import RepositoryName

# A page must fit what clients accept for an index; a descriptor is smaller than its manifest.
PAGE_BYTES = 3 << 20
# A change this recent may share its timestamp with one yet to come (clocks tick coarsely).
_SETTLED_NS = 2_000_000_000

Scanned: TypeAlias = dict[str, int]
# The subject of a manifest, in a tuple so that "none" can be remembered as well.
Subjects: TypeAlias = Lru[Digest, tuple[Digest | None]]


def remembered_subjects() -> Subjects:
    """Make the memory of subjects that the referrer stores of one process share."""
    return Lru(limit=200_000, cost=lambda _: 1)


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

    def __init__(
        self, driver: Driver, manifests: ManifestStore, subjects: Subjects, name: RepositoryName
    ) -> None:
        self._driver = driver
        self._manifests = manifests
        self._links = Links(driver)
        self._subjects = subjects
        self._name = name

    async def add(self, subject: Digest, referrer: Digest) -> None:
        """Record that `referrer`, whose bytes are durable, has `subject`."""
        await self._links.write(paths.referrer_link(self._name, subject, referrer), referrer)

    async def remove(self, subject: Digest, referrer: Digest) -> None:
        """Forget that `referrer` has `subject`."""
        await self._links.remove(paths.referrer_link(self._name, subject, referrer))

    async def page(
        self, subject: Digest, artifact_type: str | None, after: str, limit: int
    ) -> Page[Descriptor]:
        """List referrers in the order of their digests, those behind `after`, of one type."""
        await self._catch_up()
        found: list[Descriptor] = []
        budget = PAGE_BYTES
        for referrer in await self._driver.batch(lambda view: self._listed(view, subject, after)):
            manifest = await self._manifest(referrer)
            if manifest is None or artifact_type not in (None, manifest.artifact_type):
                continue
            budget -= len(manifest.raw)
            if found and (budget < 0 or len(found) == limit):
                return Page(tuple(found), more=True)
            found.append(manifest.describe(referrer))
        return Page(tuple(found))

    def _listed(self, view: View, subject: Digest, after: str) -> list[Digest]:
        folder = paths.referrers(self._name, subject)
        listed = (digest for digest in _digests(view, folder) if str(digest) > after)
        return sorted((one for one in listed if self._is_member(view, one)), key=str)

    def _is_member(self, view: View, digest: Digest) -> bool:
        return read_link(view, paths.revision_link(self._name, digest)) == digest

    async def _manifest(self, digest: Digest) -> Manifest | None:
        stored = await self._manifests.get(digest)
        try:
            return None if stored is None else await parse(stored.raw)
        except ManifestInvalid:
            return None

    async def _catch_up(self) -> None:
        changed, noted = await self._driver.batch(self._changes)
        if changed and changed == noted:
            return
        scan = await self._driver.batch(self._scan)
        for referrer, subject in scan.unlisted:
            await self.add(subject, referrer)
        settled = time.time_ns() - max(changed.values(), default=0) > _SETTLED_NS
        if changed and settled and scan.complete:
            note = json.dumps(changed).encode()
            await self._driver.note(paths.referrers_scanned(self._name), note)

    def _changes(self, view: View) -> tuple[Scanned, object]:
        folder = paths.revisions(self._name)
        changed = {alg: view.modified(f"{folder}/{alg}") for alg in HEX_LENGTHS}
        try:
            noted = json.loads(view.read(paths.referrers_scanned(self._name)))
        except (PathNotFound, ValueError):
            noted = None
        return {alg: at for alg, at in changed.items() if at is not None}, noted

    def _scan(self, view: View) -> _Scan:
        """Find manifests with a subject that the index does not have yet."""
        scan = _Scan()
        for referrer in _digests(view, paths.revisions(self._name)):
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
        known = self._subjects.get(digest)
        if known is None:
            stored = load(view, digest)
            if stored is None:
                return None
            known = (_subject_of(stored.raw),)
            self._subjects.put(digest, known)
        return known


def _digests(view: View, folder: str) -> Iterator[Digest]:
    for algorithm in HEX_LENGTHS:
        for name in view.names(f"{folder}/{algorithm}"):
            try:
                yield Digest.parse(f"{algorithm}:{name}")
            except DigestInvalid:
                continue


def _subject_of(raw: bytes) -> Digest | None:
    try:
        subject = parse_manifest(raw).subject
    except ManifestInvalid:
        return None
    return None if subject is None else subject.digest
