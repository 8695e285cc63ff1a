"""Which manifests of a repository have a given subject: an index that can be rebuilt.

Our own pushes keep it complete; `storage.referrer_scan` finds what came by another way. Beside each
link lies the entry that a list has for it, so a list reads no manifest. An older version of this
registry wrote only the link: then a list reads the manifest, once, and writes the entry. Where
nothing can be written, referrers are listed all the same.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from heapq import merge
from typing import NamedTuple

from storage import paths, referrer_entries, referrer_index
from storage.cache import Lru
from storage.digest import HEX_LENGTHS, Digest
from storage.drivers.base import Driver, View
from storage.drivers.changes import Note
from storage.errors import DigestInvalid, OperationDisabled, PathNotFound
from storage.fairness import FairSemaphore
from storage.links import is_member
from storage.manifest_store import load
from storage.manifests import Manifest
from storage.names import RepositoryName
from storage.referrer_entries import LONGEST_ENTRY, Referrer
from storage.referrer_scan import ReferrerScan, Subjects, Unlisted, parsed
from storage.sharing import Run, SharedRuns

logger = logging.getLogger(__name__)

# Bytes of the answer; clients accept an index of 4 MiB.
PAGE_BYTES = 3 << 20
# Bytes that a page reads; opening a file counts as `_OPENING` of them. So a page reads some ten
# thousand entries of the usual length, which takes a fifth of a second.
READ_BYTES = 8 << 20
_OPENING = 256
# Missing entries that one page writes beside their links, in one hop.
_MOST_WRITTEN = 256
_ENTRIES_BYTES = 16 << 20
# Threads that may read for lists at the same time, of different repositories. The others are left
# to pushes and pulls.
_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class ReferrerPage:
    """Some referrers; the next page begins behind the digest `next`, which is "" on the last page.

    A page may be empty and not be the last one, because the bytes that it reads are bounded.
    """

    entries: tuple[Referrer, ...]
    next: str = ""

    @property
    def more(self) -> bool:
        """Whether there is a next page."""
        return bool(self.next)


class Question(NamedTuple):
    """What is to be listed: referrers behind `after`, at most `limit`, of one type or of all.

    `extra` are referrers that the scan before it found. The index may lack them where it can't be
    written.
    """

    repository: str
    subject: Digest
    artifact_type: str | None
    after: str
    limit: int
    extra: frozenset[Digest]


@dataclass(frozen=True, slots=True)
class Memory:
    """What the referrers of all repositories share: facts about content, and work under way."""

    subjects: Subjects = field(default_factory=Subjects)
    entries: Lru[Digest, Referrer] = field(
        default_factory=lambda: Lru(_ENTRIES_BYTES, cost=lambda entry: entry.memory)
    )
    places: FairSemaphore = field(default_factory=lambda: FairSemaphore(_AT_ONCE))
    scans: SharedRuns[str, Unlisted] = field(default_factory=SharedRuns)
    pages: SharedRuns[Question, ReferrerPage] = field(default_factory=SharedRuns)


class ReferrerStore:
    """The referrers of repository `name`."""

    def __init__(self, driver: Driver, memory: Memory, name: RepositoryName) -> None:
        self._driver = driver
        self._memory = memory
        self._name = name
        self._scan = ReferrerScan(driver, memory.subjects, name)

    def add(self, subject: Digest, digest: Digest, manifest: Manifest) -> tuple[Note, ...]:
        """Return the changes that record that a manifest, which is durable, has `subject`."""
        link = Note(paths.referrer_link(self._name, subject, digest), str(digest).encode())
        entry = referrer_entries.describe(manifest, digest)
        return (link,) if entry is None else (link, self._note(subject, entry))

    async def page(
        self, subject: Digest, artifact_type: str | None, after: str, limit: int
    ) -> ReferrerPage:
        """List referrers in the order of their digests, those behind `after`, of one type.

        Callers that ask the same at the same time share the work. It ends when all of them left.
        """
        unlisted: Unlisted = []
        if await self._scan.is_needed():
            unlisted = await self._memory.scans.result(self._name.text, self._scanned)
        extra = frozenset(referrer for referrer, of in unlisted if of == subject)
        question = Question(self._name.text, subject, artifact_type, after, limit, extra)
        return await self._memory.pages.result(question, partial(self._answer, question))

    async def _scanned(self, run: Run[Unlisted]) -> Unlisted:
        async with self._memory.places.of(self._name):
            return await self._scan.run(run)

    async def _answer(self, question: Question, run: Run[ReferrerPage]) -> ReferrerPage:
        reading = _Reading(self._name, question, self._memory.entries, run)
        async with self._memory.places.of(self._name):
            page = await self._driver.batch(reading.page)
        notes = {one.digest: self._note(question.subject, one) for one in reading.unwritten}
        if notes:
            try:
                await referrer_index.write(self._driver, self._name, notes)
            except OperationDisabled:
                pass  # a volume that is only read
            except OSError as error:
                logger.warning("could not write the referrers index of %s: %s", self._name, error)
        return page

    def _note(self, subject: Digest, entry: Referrer) -> Note:
        path = paths.referrer_descriptor(self._name, subject, entry.digest)
        return Note(path, entry.document)


class _Reading:
    """The reading of one page; `unwritten` are entries that were not found beside their links."""

    def __init__(
        self,
        name: RepositoryName,
        question: Question,
        known: Lru[Digest, Referrer],
        run: Run[ReferrerPage],
    ) -> None:
        self.unwritten: list[Referrer] = []
        self._name = name
        self._question = question
        self._known = known
        self._run = run
        self._budget = READ_BYTES

    def page(self, view: View) -> ReferrerPage:
        """Read until the page is full or the budget is spent; at least one entry is read."""
        entries: list[Referrer] = []
        size, last = 0, ""
        for digest in self._listed(view):
            self._run.check()
            if self._budget <= 0:
                return ReferrerPage(tuple(entries), last)
            entry = self._fitting(view, digest)
            if entry is not None:
                size += len(entry.document) + 1
                if entries and (size > PAGE_BYTES or len(entries) == self._question.limit):
                    return ReferrerPage(tuple(entries), last)
                entries.append(entry)
            last = str(digest)
        return ReferrerPage(tuple(entries))

    def _listed(self, view: View) -> Iterator[Digest]:
        """Yield the digests behind `after` in order: those of the index and `extra`."""
        folder = paths.referrers(self._name, self._question.subject)
        extra = sorted(str(one) for one in self._question.extra if str(one) > self._question.after)
        last = ""
        for text in merge(self._texts(view, folder), extra):
            if text != last:
                last = text
                try:
                    yield Digest.parse(text)
                except DigestInvalid:
                    continue  # a stray folder

    def _texts(self, view: View, folder: str) -> Iterator[str]:
        for algorithm in HEX_LENGTHS:  # in the order of their names
            names = view.folders(f"{folder}/{algorithm}")
            names.sort()
            start = bisect_right(names, self._question.after, key=f"{algorithm}:{{}}".format)
            for at in range(start, len(names)):
                yield f"{algorithm}:{names[at]}"

    def _fitting(self, view: View, digest: Digest) -> Referrer | None:
        """Return the entry of a referrer if it has the requested type and is a member."""
        entry = self._known.get(digest) or self._read(view, digest)
        if entry is None or self._question.artifact_type not in (None, entry.artifact_type):
            return None
        self._budget -= _OPENING
        return entry if is_member(view, self._name, digest) else None

    def _read(self, view: View, digest: Digest) -> Referrer | None:
        """Read the entry beside the link, else make it from the manifest; remember it."""
        path = paths.referrer_descriptor(self._name, self._question.subject, digest)
        try:
            document = view.read(path, LONGEST_ENTRY + 1)
        except PathNotFound:
            document = b""
        self._budget -= _OPENING + len(document)
        entry = referrer_entries.parse(document, digest) or self._described(view, digest)
        if entry is not None:
            self._known.put(digest, entry)
        return entry

    def _described(self, view: View, digest: Digest) -> Referrer | None:
        """Make an entry from the manifest, and have it written if there is room for one more."""
        content = view.stat(paths.blob(digest))
        self._budget -= _OPENING + (content.size if content else 0)
        stored = load(view, digest)
        manifest = None if stored is None else parsed(stored)
        entry = None if manifest is None else referrer_entries.describe(manifest, digest)
        has_room = len(self.unwritten) < _MOST_WRITTEN
        if entry is not None and has_room and is_member(view, self._name, digest):
            self.unwritten.append(entry)
        return entry
