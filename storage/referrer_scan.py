"""Finds manifests with a subject that the index of referrers does not have yet.

They came by another way than our pushes: an older registry on the same volume, a copied folder. A
scan is needed if the folders of revisions changed since the last scan, which noted their mtimes.
The subject of a manifest never changes, so a scan reads only manifests that this process has not
read before. Manifests under the spec's referrers tag schema are revisions of the repository like
any other, so the scan finds them too (spec, "Enabling the Referrers API").
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from sys import getsizeof
from typing import TypeAlias

from storage import paths, referrer_index
from storage.boot import this_boot
from storage.digest import HEX_LENGTHS, Digest
from storage.drivers.base import Driver, View
from storage.drivers.changes import Note
from storage.errors import DigestInvalid, ManifestInvalid, OperationDisabled, PathNotFound
from storage.links import is_member
from storage.manifest_store import load
from storage.manifests import Manifest, StoredManifest
from storage.names import RepositoryName
from storage.sharing import Run
from storage.stored_manifests import read_stored

logger = logging.getLogger(__name__)

# A change this recent may share its timestamp with one yet to come (clocks tick coarsely).
_SETTLED_NS = 2_000_000_000
# Links that are written in one hop to a thread, under the shared tree lock.
_AT_ONCE = 256
_SUBJECTS_BYTES = 24 << 20

# A subject, in a tuple so that "has none" differs from "is not known".
Subject: TypeAlias = tuple[Digest | None]
# The boot, and the mtime of each algorithm's folder of revisions.
Scanned: TypeAlias = dict[str, int | str]
# Referrers, each with its subject.
Unlisted: TypeAlias = list[tuple[Digest, Digest]]

# Characters of a digest's hex that are kept. To find two digests that begin with the same thirty
# takes 2^60 attempts, and would only hide from scans a manifest that was made for this.
_HEX_KEPT = 30
# Bytes of the number that is kept, and of its place in a dictionary that has just grown.
_PLACE_BYTES = 44 + 84


class Subjects:
    """The subjects of manifests, by the hex of their digests; threads may share one.

    The hex alone tells manifests apart, whatever their algorithm (`_HEX_KEPT`). A folder of
    revisions is named by it, and to make a `Digest` of each of a hundred thousand would take longer
    than the rest of a scan. Over `limit` bytes all of them are dropped and read again.
    """

    def __init__(self, limit: int = _SUBJECTS_BYTES) -> None:
        self._limit = limit
        self._known: dict[int, bytes] = {}
        self._lock = threading.Lock()
        self.size = 0

    def of(self, view: View, algorithm: str, hex: str) -> Subject | None:
        """Return a manifest's subject; None when the manifest can't be read now."""
        try:
            key = int(hex[:_HEX_KEPT], 16)
        except ValueError:
            return (None,)  # a stray folder
        known = self._known.get(key)
        if known is not None:
            return (Digest.parse(known.decode()) if known else None,)
        found = _read_subject(view, algorithm, hex)
        if found is not None:
            self._note(key, str(found[0]).encode() if found[0] else b"")
        return found

    def _note(self, key: int, subject: bytes) -> None:
        taken = _PLACE_BYTES + (getsizeof(subject) if subject else 0)
        with self._lock:
            if self.size + taken > self._limit:
                self._known, self.size = {}, 0  # a new one: other threads may read the old one
            self.size += 0 if key in self._known else taken
            self._known[key] = subject


def _read_subject(view: View, algorithm: str, hex: str) -> Subject | None:
    try:
        stored = load(view, Digest.parse(f"{algorithm}:{hex}"))
    except DigestInvalid:
        return (None,)
    if stored is None:
        return None
    manifest = parsed(stored)
    return (manifest.subject.digest if manifest and manifest.subject else None,)


def parsed(stored: StoredManifest) -> Manifest | None:
    """Read a stored manifest as far as possible; None if it is no manifest."""
    try:
        return read_stored(stored.raw).manifest
    except ManifestInvalid:
        return None


@dataclass(slots=True)
class _Found:
    """What a scan found.

    It is not `complete` if a revision may become a referrer without a change of any folder's
    mtime, such as one whose bytes can't be read now. Then the next scan reads it again.
    """

    unlisted: Unlisted = field(default_factory=list)
    complete: bool = True


class ReferrerScan:
    """Scans repository `name`."""

    def __init__(self, driver: Driver, subjects: Subjects, name: RepositoryName) -> None:
        self._driver = driver
        self._subjects = subjects
        self._name = name

    async def is_needed(self) -> bool:
        """Tell whether the revisions have changed since the last scan that was noted."""
        changed, noted = await self._driver.batch(self._changes)
        return len(changed) <= 1 or changed != noted

    async def run(self, run: Run[Unlisted]) -> Unlisted:
        """Return referrers, with their subjects, that were not in the index; put them there."""
        run.check()
        changed, noted = await self._driver.batch(self._changes)
        if len(changed) > 1 and changed == noted:
            return []
        found = await self._driver.batch(lambda view: self._scan(view, run))
        try:
            await self._heal(found, changed, run)
        except (OSError, OperationDisabled) as error:
            logger.warning("could not write the referrers index of %s: %s", self._name, error)
        return found.unlisted

    async def _heal(self, found: _Found, changed: Scanned, run: Run[Unlisted]) -> None:
        """Write what is missing; if that is interrupted, the next scan finds it again."""
        unlisted = iter(found.unlisted)
        while some := list(islice(unlisted, _AT_ONCE)):
            run.check()
            if not await referrer_index.write(self._driver, self._name, dict(self._links(some))):
                return
        times = [at for at in changed.values() if isinstance(at, int)]
        settled = time.time_ns() - max(times, default=0) > _SETTLED_NS
        if times and settled and found.complete:
            note = json.dumps(changed).encode()
            await self._driver.note(paths.referrers_scanned(self._name), note)

    def _links(self, unlisted: Unlisted) -> Iterator[tuple[Digest, Note]]:
        for referrer, subject in unlisted:
            link = paths.referrer_link(self._name, subject, referrer)
            yield referrer, Note(link, str(referrer).encode())

    def _changes(self, view: View) -> tuple[Scanned, object]:
        folder = paths.revisions(self._name)
        times = {alg: view.modified(f"{folder}/{alg}") for alg in HEX_LENGTHS}
        changed: Scanned = {alg: at for alg, at in times.items() if at is not None}
        try:
            noted = json.loads(view.read(paths.referrers_scanned(self._name)))
        except (PathNotFound, ValueError):
            noted = None
        return {"boot": this_boot(), **changed}, noted

    def _scan(self, view: View, run: Run[Unlisted]) -> _Found:
        found = _Found()
        folder = paths.revisions(self._name)
        for algorithm in HEX_LENGTHS:
            for hex in view.folders(f"{folder}/{algorithm}"):
                run.check()
                known = self._subjects.of(view, algorithm, hex)
                if known is None:
                    found.complete = False
                elif known[0] is not None:
                    self._compare(view, found, Digest(algorithm, hex), known[0])
        return found

    def _compare(self, view: View, found: _Found, referrer: Digest, subject: Digest) -> None:
        """Look for a referrer's link; an empty one counts as missing."""
        link = view.stat(paths.referrer_link(self._name, subject, referrer))
        if link is not None and link.size:
            return
        if is_member(view, self._name, referrer):
            found.unlisted.append((referrer, subject))
        else:
            # If it is pushed again, its folder exists already, and no mtime changes.
            found.complete = False
