"""A usage report of a whole storage: every file counted, and why it is kept."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

from storage.drivers.base import Driver, Reader
from storage.drivers.cancellable import CancellableReads
from storage.drivers.filesystem.file_census import FileCensus
from storage.maintenance.garbage.plan import Options, mark_tolerantly
from storage.maintenance.garbage.survey.blob_survey import SHORTEST_GRACE_NS, survey
from storage.maintenance.garbage.survey.coverage import Coverage
from storage.maintenance.garbage.survey.hidden_repositories import add_hidden_places
from storage.maintenance.progress import NoProgress, Progress, Stop
from storage.maintenance.tolerant_reads import TolerantReader, TolerantReads, Trouble
from storage.maintenance.usage.amounts import Amount
from storage.maintenance.usage.file_counts import FileUsage, count_files
from storage.maintenance.usage.tally import tally
from storage.maintenance.usage.usage_database import UsageDatabase
from storage.repository.registry import walk
from storage.values.names import RepositoryName


@dataclass(frozen=True, slots=True)
class BlobUsage:
    """All blobs, by why they are kept; each is in exactly one of the first five amounts.

    `held_back` would be `idle` if everything could be read. `shared` is the part of `needed` and
    `perhaps` that several repositories need, `untagged` the part that only manifests need that
    `delete_untagged` would remove.
    """

    needed: Amount
    perhaps: Amount
    young: Amount
    held_back: Amount
    idle: Amount
    shared: Amount
    untagged: Amount

    @property
    def total(self) -> Amount:
        """All blobs."""
        return self.needed + self.perhaps + self.young + self.held_back + self.idle


@dataclass(frozen=True, slots=True)
class UploadUsage:
    """Upload sessions, and when the longest idle one was last active, in seconds since 1970."""

    sessions: int = 0
    oldest: float | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What is on the disk and why; `database` has the details of each repository."""

    database: UsageDatabase
    blobs: BlobUsage
    files: FileUsage
    uploads: UploadUsage
    coverage: Coverage

    @property
    def total(self) -> Amount:
        """All files below the root."""
        return sum(self.files.amounts.values(), self.blobs.total)

    @property
    def reclaimable(self) -> Amount:
        """What a collection would free now: blobs and leftovers."""
        return self.blobs.idle + self.files.leftovers


@asynccontextmanager
async def usage_of(
    driver: Driver,
    census: FileCensus,
    grace: float,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> AsyncIterator[Usage]:
    """Examine the storage that `driver` reads and whose files `census` counts; write nothing.

    `grace` is the grace period in seconds, by the clock of this machine. The database can be read
    until the context ends. Raises `Stopped`.
    """
    database = await driver.batch(lambda _: UsageDatabase())
    try:
        examination = _Examination(
            driver, database, grace, progress or NoProgress(), stop or Stop()
        )
        yield await examination.usage(census)
    finally:
        database.close()


class _Examination:
    def __init__(
        self, driver: Driver, database: UsageDatabase, grace: float, progress: Progress, stop: Stop
    ) -> None:
        self._driver = driver
        # A repository may take a minute.
        self._reads = CancellableReads(driver, stop.raise_if_requested)
        self._database = database
        self._grace = grace
        self._progress = progress
        self._stop = stop
        self._trouble: list[Trouble] = []
        self._young_after = time.time_ns() - max(int(grace * 1e9), SHORTEST_GRACE_NS)

    async def usage(self, census: FileCensus) -> Usage:
        """Examine everything, once."""
        reads = TolerantReads(self._reads, self._trouble)
        await survey(reads, self._database.blobs, self._young_after, self._progress, self._stop)
        is_hidden = await self._reads.batch(
            partial(add_hidden_places, self._database.blobs, self._trouble)
        )
        uploads = await self._mark()
        files = await self._driver.batch(partial(self._count, census))
        blobs = await self._blobs()
        # The same path is read several times.
        trouble = tuple(dict.fromkeys(self._trouble))
        unreadable = await self._driver.batch(lambda _: self._database.marks.count_of_unreadable())
        coverage = Coverage(trouble, is_hidden, unreadable)
        return Usage(self._database, blobs, files, uploads, coverage)

    async def _mark(self) -> UploadUsage:
        names = await self._reads.batch(lambda reader: list(walk(self._tolerant(reader))))
        sessions, oldest = 0, []
        for done, name in enumerate(names):
            self._stop.raise_if_requested()
            uploads = await self._reads.batch(partial(self._mark_one, name))
            sessions += uploads.sessions
            oldest += [] if uploads.oldest is None else [uploads.oldest]
            self._progress.step("marking repositories", done + 1, len(names))
        return UploadUsage(sessions, min(oldest, default=None))

    def _mark_one(self, name: RepositoryName, reader: Reader) -> UploadUsage:
        options = Options(self._grace)
        is_readable = mark_tolerantly(self._database, name, options, self._trouble, reader)
        counts = tally(self._tolerant(reader), name)
        if counts is None:
            return UploadUsage()
        self._database.add_tally(name, counts, readable=is_readable)
        return UploadUsage(counts.uploads, counts.oldest)

    def _count(self, census: FileCensus, _: Reader) -> FileUsage:
        return count_files(census, self._young_after, self._trouble, self._progress, self._stop)

    async def _blobs(self) -> BlobUsage:
        usage = await self._driver.batch(lambda _: self._blobs_without_untagged())
        if self._trouble:
            return usage
        names = await self._driver.batch(lambda _: self._database.unmark_untagged())
        for done, name in enumerate(names):
            self._stop.raise_if_requested()
            await self._reads.batch(partial(self._mark_tagged, name))
            self._progress.step("searching untagged manifests", done + 1, len(names))
        idle = await self._driver.batch(lambda _: self._database.amount_idle())
        return replace(usage, untagged=idle - usage.idle)

    def _blobs_without_untagged(self) -> BlobUsage:
        database = self._database
        database.add_shares()
        idle = database.amount_idle()
        return BlobUsage(
            needed=database.amount_needed(),
            perhaps=database.amount_perhaps_needed(),
            young=database.amount_young(),
            held_back=idle if self._trouble else Amount(),
            idle=Amount() if self._trouble else idle,
            shared=database.amount_shared(),
            untagged=Amount(),
        )

    def _mark_tagged(self, name: RepositoryName, reader: Reader) -> None:
        options = Options(self._grace, delete_untagged=True)
        mark_tolerantly(self._database, name, options, self._trouble, reader)

    def _tolerant(self, reader: Reader) -> TolerantReader:
        return TolerantReader(reader, self._trouble)
