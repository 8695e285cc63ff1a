"""The index of referrers: which manifests of a repository have a given subject.

Pushes to this registry keep the index complete; `storage.content.referrer_scan` adds what other
programs wrote. The entry of a referrer in a list is stored beside its link, so that a list reads no
manifest. Older versions of this registry wrote only the link: then the first list reads the
manifest and writes the entry. On a read-only volume nothing is written. The index can be rebuilt.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from heapq import merge
from typing import NamedTuple

from storage.concurrency.fairness import FairSemaphore
from storage.concurrency.sharing import Run, SharedRuns
from storage.content import referrer_index
from storage.content.links import is_member
from storage.content.manifest_store import load
from storage.content.referrer_scan import ReferrerScan, Subjects, Unlisted, try_parse
from storage.drivers.base import Driver, Reader
from storage.drivers.changes import PutUnsynced
from storage.errors import DigestInvalid, OperationDisabled, PathNotFound
from storage.values import paths, referrer_entries
from storage.values.cache import Lru
from storage.values.digest import HEX_LENGTHS, Digest
from storage.values.manifests import Manifest
from storage.values.names import RepositoryName
from storage.values.referrer_entries import LONGEST_ENTRY, Referrer

logger = logging.getLogger(__name__)

# Bytes of a response; clients accept an index of 4 MiB.
PAGE_BYTES = 3 << 20
# Bytes that are read for a page; opening a file counts as `_OPENING` bytes. So a page reads about
# ten thousand entries of the usual length, in a fifth of a second.
READ_BYTES = 8 << 20
_OPENING = 256
# Missing entries that one page writes beside their links.
_MOST_WRITTEN = 256
_ENTRIES_BYTES = 16 << 20
# Threads that may read lists concurrently, of different repositories. The others remain free for
# pushes and pulls.
_CONCURRENT_LISTS = 4


@dataclass(frozen=True, slots=True)
class ReferrerPage:
    """Some referrers; the next page starts after the digest `next`, which is "" on the last page.

    An empty page need not be the last one, because the bytes read for a page are bounded.
    """

    entries: tuple[Referrer, ...]
    next: str = ""

    @property
    def more(self) -> bool:
        """Whether there is a next page."""
        return bool(self.next)


class PageQuery(NamedTuple):
    """The parameters of a list: at most `limit` referrers after `after`, of one type or of all.

    `extra` are referrers that the preceding scan found. The index lacks them where it cannot be
    written.
    """

    repository: str
    subject: Digest
    artifact_type: str | None
    after: str
    limit: int
    extra: frozenset[Digest]


@dataclass(frozen=True, slots=True)
class ReferrerCache:
    """Shared by the referrers of all repositories: facts about content, and running work."""

    subjects: Subjects = field(default_factory=Subjects)
    entries: Lru[Digest, Referrer] = field(
        default_factory=lambda: Lru(_ENTRIES_BYTES, cost=lambda entry: entry.memory)
    )
    slots: FairSemaphore = field(default_factory=lambda: FairSemaphore(_CONCURRENT_LISTS))
    scans: SharedRuns[str, Unlisted] = field(default_factory=SharedRuns)
    pages: SharedRuns[PageQuery, ReferrerPage] = field(default_factory=SharedRuns)


class ReferrerStore:
    """The referrers of repository `name`."""

    def __init__(self, driver: Driver, cache: ReferrerCache, name: RepositoryName) -> None:
        self._driver = driver
        self._cache = cache
        self._name = name
        self._scan = ReferrerScan(driver, cache.subjects, name)

    def add_changes(
        self, subject: Digest, digest: Digest, manifest: Manifest
    ) -> tuple[PutUnsynced, ...]:
        """Return the changes that record that a durable manifest has `subject`."""
        link = PutUnsynced(paths.referrer_link(self._name, subject, digest), str(digest).encode())
        entry = referrer_entries.describe(manifest, digest)
        return (link,) if entry is None else (link, self._entry_change(subject, entry))

    async def page(
        self, subject: Digest, artifact_type: str | None, after: str, limit: int
    ) -> ReferrerPage:
        """List the referrers after `after` in the order of their digests, of one type or of all.

        Concurrent calls with equal parameters share the work, which ends when all are cancelled.
        """
        unlisted: Unlisted = []
        if await self._scan.is_needed():
            unlisted = await self._cache.scans.result(self._name.text, self._scanned)
        extra = frozenset(digest for digest, its_subject in unlisted if its_subject == subject)
        query = PageQuery(self._name.text, subject, artifact_type, after, limit, extra)
        return await self._cache.pages.result(query, partial(self._read_page, query))

    async def _scanned(self, run: Run[Unlisted]) -> Unlisted:
        async with self._cache.slots.of(self._name):
            return await self._scan.run(run)

    async def _read_page(self, query: PageQuery, run: Run[ReferrerPage]) -> ReferrerPage:
        reader = _PageReader(self._name, query, self._cache.entries, run)
        async with self._cache.slots.of(self._name):
            page = await self._driver.batch(reader.page)
        changes = {
            entry.digest: self._entry_change(query.subject, entry) for entry in reader.unwritten
        }
        if changes:
            try:
                await referrer_index.write(self._driver, self._name, changes)
            except OperationDisabled:
                pass  # a read-only volume
            except OSError as error:
                logger.warning("could not write the referrers index of %s: %s", self._name, error)
        return page

    def _entry_change(self, subject: Digest, entry: Referrer) -> PutUnsynced:
        path = paths.referrer_descriptor(self._name, subject, entry.digest)
        return PutUnsynced(path, entry.document)


class _PageReader:
    """Reads one page; `unwritten` are entries that were missing beside their links."""

    def __init__(
        self,
        name: RepositoryName,
        query: PageQuery,
        known: Lru[Digest, Referrer],
        run: Run[ReferrerPage],
    ) -> None:
        self.unwritten: list[Referrer] = []
        self._name = name
        self._query = query
        self._known = known
        self._run = run
        self._budget = READ_BYTES

    def page(self, reader: Reader) -> ReferrerPage:
        """Read at least one entry, until the page is full or the budget is spent."""
        entries: list[Referrer] = []
        size, last = 0, ""
        for digest in self._listed(reader):
            self._run.check()
            if self._budget <= 0:
                return ReferrerPage(tuple(entries), last)
            entry = self._fitting(reader, digest)
            if entry is not None:
                size += len(entry.document) + 1
                if entries and (size > PAGE_BYTES or len(entries) == self._query.limit):
                    return ReferrerPage(tuple(entries), last)
                entries.append(entry)
            last = str(digest)
        return ReferrerPage(tuple(entries))

    def _listed(self, reader: Reader) -> Iterator[Digest]:
        """Yield the digests after `after` in order, those of the index and `extra`."""
        folder = paths.referrers(self._name, self._query.subject)
        extra = sorted(text for text in map(str, self._query.extra) if text > self._query.after)
        last = ""
        for text in merge(self._texts(reader, folder), extra):
            if text != last:
                last = text
                try:
                    yield Digest.parse(text)
                except DigestInvalid:
                    continue  # not the folder of a referrer

    def _texts(self, reader: Reader, folder: str) -> Iterator[str]:
        for algorithm in HEX_LENGTHS:  # in alphabetical order
            names = reader.folders(f"{folder}/{algorithm}")
            names.sort()
            start = bisect_right(names, self._query.after, key=f"{algorithm}:{{}}".format)
            for at in range(start, len(names)):
                yield f"{algorithm}:{names[at]}"

    def _fitting(self, reader: Reader, digest: Digest) -> Referrer | None:
        """Return the entry of a referrer if it has the requested type and is a member."""
        entry = self._known.get(digest) or self._read(reader, digest)
        if entry is None or self._query.artifact_type not in (None, entry.artifact_type):
            return None
        self._budget -= _OPENING
        return entry if is_member(reader, self._name, digest) else None

    def _read(self, reader: Reader, digest: Digest) -> Referrer | None:
        """Read the entry beside the link, or build it from the manifest; cache it."""
        path = paths.referrer_descriptor(self._name, self._query.subject, digest)
        try:
            document = reader.read(path, LONGEST_ENTRY + 1)
        except PathNotFound:
            document = b""
        self._budget -= _OPENING + len(document)
        entry = referrer_entries.parse(document, digest) or self._described(reader, digest)
        if entry is not None:
            self._known.put(digest, entry)
        return entry

    def _described(self, reader: Reader, digest: Digest) -> Referrer | None:
        """Build an entry from the manifest; the page writes it, unless it has too many to write."""
        info = reader.stat(paths.blob(digest))
        self._budget -= _OPENING + (info.size if info else 0)
        stored = load(reader, digest)
        manifest = None if stored is None else try_parse(stored)
        entry = None if manifest is None else referrer_entries.describe(manifest, digest)
        has_room = len(self.unwritten) < _MOST_WRITTEN
        if entry is not None and has_room and is_member(reader, self._name, digest):
            self.unwritten.append(entry)
        return entry
