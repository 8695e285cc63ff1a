"""Finds manifests with a subject that are missing from the index of referrers.

They were not pushed to this registry: an older registry wrote to the volume, or a folder was
copied. A scan is needed if the folders of revisions changed since the last scan, which recorded
their mtimes. The subject of a manifest never changes, so a scan reads only manifests that this
process has not read before. Manifests under the spec's referrers tag schema are ordinary revisions,
so the scan finds them too (spec, "Enabling the Referrers API").
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

from storage.concurrency.sharing import Run
from storage.content import referrer_index
from storage.content.boot import this_boot
from storage.content.links import is_member
from storage.content.manifest_store import load
from storage.drivers.base import Driver, Reader
from storage.drivers.changes import PutUnsynced
from storage.errors import DigestInvalid, ManifestInvalid, OperationDisabled, PathNotFound
from storage.values import paths
from storage.values.digest import HEX_LENGTHS, Digest
from storage.values.manifests import Manifest, StoredManifest
from storage.values.names import RepositoryName
from storage.values.stored_manifests import read_stored

logger = logging.getLogger(__name__)

# A change this recent may share its mtime with a later one, because clocks tick coarsely.
_SETTLED_NS = 2_000_000_000
# Links that are written in one call, under the shared tree lock.
_AT_ONCE = 256
_SUBJECTS_BYTES = 24 << 20

# A subject, in a tuple so that "has no subject" differs from "is unknown".
Subject: TypeAlias = tuple[Digest | None]
# The boot, and the mtime of each algorithm's folder of revisions.
Scanned: TypeAlias = dict[str, int | str]
# Referrers, each with its subject.
Unlisted: TypeAlias = list[tuple[Digest, Digest]]

# Hex digits of a digest that are kept. Finding two digests with the same thirty takes 2^60
# attempts, and would only hide the attacker's own manifest from scans.
_HEX_KEPT = 30
# Bytes of the kept number, and of its slot in a dictionary that has just grown.
_PLACE_BYTES = 44 + 84


class Subjects:
    """A thread-safe cache of the subjects of manifests, by the hex of their digests.

    The hex identifies a manifest whatever its algorithm (`_HEX_KEPT`), and is the name of its
    folder of revisions. Parsing a hundred thousand digests would take longer than the rest of a
    scan. Over `limit` bytes the whole cache is dropped.
    """

    def __init__(self, limit: int = _SUBJECTS_BYTES) -> None:
        self._limit = limit
        self._known: dict[int, bytes] = {}
        self._lock = threading.Lock()
        self.size = 0

    def of(self, reader: Reader, algorithm: str, hex: str) -> Subject | None:
        """Return a manifest's subject; None when the manifest cannot be read now."""
        try:
            key = int(hex[:_HEX_KEPT], 16)
        except ValueError:
            return (None,)  # not the name of a revision
        known = self._known.get(key)
        if known is not None:
            return (Digest.parse(known.decode()) if known else None,)
        subject = _read_subject(reader, algorithm, hex)
        if subject is not None:
            self._cache(key, str(subject[0]).encode() if subject[0] else b"")
        return subject

    def _cache(self, key: int, subject: bytes) -> None:
        cost = _PLACE_BYTES + (getsizeof(subject) if subject else 0)
        with self._lock:
            if self.size + cost > self._limit:
                self._known, self.size = {}, 0  # not clear(): other threads may read the old one
            self.size += 0 if key in self._known else cost
            self._known[key] = subject


def _read_subject(reader: Reader, algorithm: str, hex: str) -> Subject | None:
    try:
        stored = load(reader, Digest.parse(f"{algorithm}:{hex}"))
    except DigestInvalid:
        return (None,)
    if stored is None:
        return None
    manifest = try_parse(stored)
    return (manifest.subject.digest if manifest and manifest.subject else None,)


def try_parse(stored: StoredManifest) -> Manifest | None:
    """Parse a stored manifest as far as possible; None if it is not a manifest."""
    try:
        return read_stored(stored.raw).manifest
    except ManifestInvalid:
        return None


@dataclass(slots=True)
class _ScanResult:
    """The referrers that a scan found missing from the index.

    A scan is not `complete` if a revision may become a referrer without changing a folder's mtime,
    such as one whose bytes cannot be read now. Then the next request scans again.
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
        """Return whether revisions changed since the last recorded scan."""
        current, recorded = await self._driver.batch(self._current_and_recorded)
        return len(current) <= 1 or current != recorded

    async def run(self, run: Run[Unlisted]) -> Unlisted:
        """Add missing referrers to the index, and return them with their subjects."""
        run.check()
        current, recorded = await self._driver.batch(self._current_and_recorded)
        if len(current) > 1 and current == recorded:
            return []
        result = await self._driver.batch(lambda reader: self._scan(reader, run))
        try:
            await self._write_missing(result, current, run)
        except (OSError, OperationDisabled) as error:
            logger.warning("could not write the referrers index of %s: %s", self._name, error)
        return result.unlisted

    async def _write_missing(
        self, result: _ScanResult, scanned: Scanned, run: Run[Unlisted]
    ) -> None:
        """Write missing entries; if this is interrupted, the next scan finds the rest."""
        unlisted = iter(result.unlisted)
        while batch := list(islice(unlisted, _AT_ONCE)):
            run.check()
            if not await referrer_index.write(self._driver, self._name, dict(self._links(batch))):
                return
        mtimes = [mtime for mtime in scanned.values() if isinstance(mtime, int)]
        is_settled = time.time_ns() - max(mtimes, default=0) > _SETTLED_NS
        if mtimes and is_settled and result.complete:
            record = json.dumps(scanned).encode()
            await self._driver.write_unsynced(paths.referrers_scanned(self._name), record)

    def _links(self, unlisted: Unlisted) -> Iterator[tuple[Digest, PutUnsynced]]:
        for referrer, subject in unlisted:
            link = paths.referrer_link(self._name, subject, referrer)
            yield referrer, PutUnsynced(link, str(referrer).encode())

    def _current_and_recorded(self, reader: Reader) -> tuple[Scanned, object]:
        """Return what a scan would record now, and what the last one recorded, if it is valid."""
        folder = paths.revisions(self._name)
        mtimes = {alg: reader.modified(f"{folder}/{alg}") for alg in HEX_LENGTHS}
        current: Scanned = {alg: mtime for alg, mtime in mtimes.items() if mtime is not None}
        try:
            recorded = json.loads(reader.read(paths.referrers_scanned(self._name)))
        except (PathNotFound, ValueError):
            recorded = None
        return {"boot": this_boot(), **current}, recorded

    def _scan(self, reader: Reader, run: Run[Unlisted]) -> _ScanResult:
        result = _ScanResult()
        folder = paths.revisions(self._name)
        for algorithm in HEX_LENGTHS:
            for hex in reader.folders(f"{folder}/{algorithm}"):
                run.check()
                subject = self._subjects.of(reader, algorithm, hex)
                if subject is None:
                    result.complete = False
                elif subject[0] is not None:
                    self._compare(reader, result, Digest(algorithm, hex), subject[0])
        return result

    def _compare(
        self, reader: Reader, result: _ScanResult, referrer: Digest, subject: Digest
    ) -> None:
        """Add a referrer to `result` if its link is missing from the index, or empty."""
        link = reader.stat(paths.referrer_link(self._name, subject, referrer))
        if link is not None and link.size:
            return
        if is_member(reader, self._name, referrer):
            result.unlisted.append((referrer, subject))
        else:
            # If it is pushed again, its folder already exists, so no mtime changes.
            result.complete = False
