"""A scrub from the beginning to the end, or from where the last one was interrupted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import chain

from storage.concurrency.cancellation import to_completion
from storage.drivers.base import Driver, Reader
from storage.errors import raise_if_exhausted
from storage.maintenance.database import Database
from storage.maintenance.garbage.survey.hidden_repositories import (
    hidden_places,
    unmounted_blob_folders,
)
from storage.maintenance.progress import Progress
from storage.maintenance.scrub.checkpoint import Stage
from storage.maintenance.scrub.findings import Kind
from storage.maintenance.scrub.reading import strays
from storage.maintenance.scrub.reading.blob_contents import Contents
from storage.maintenance.scrub.reading.folder_listing import Lister, Listing
from storage.maintenance.scrub.reading.read_rate import ReadRate
from storage.maintenance.scrub.record import Listener, Record, Summary
from storage.maintenance.scrub.repairs import Repairer
from storage.maintenance.scrub.stages import key_queue
from storage.maintenance.scrub.stages.blob_stage import BlobCheck
from storage.maintenance.scrub.stages.repository_names import RepositoryNames
from storage.maintenance.scrub.stages.repository_stage import RepositoryCheck
from storage.maintenance.tolerant_reads import TolerantReader
from storage.values import paths
from storage.values.digest import HEX_LENGTHS, Digest
from storage.values.names import is_component
from storage.values.paths import SCRUBBED

logger = logging.getLogger(__name__)

# How many beginnings of four hex digits a digest can have.
_BEGINNINGS = 0x10000
# The folders above blobs and repositories, each with the folders expected in it.
_TOP_FOLDERS = (
    ("docker", "registry"),
    ("docker/registry", "v2"),
    (paths.ROOT, "blobs", "repositories"),
)


@dataclass(frozen=True, slots=True)
class Options:
    """How to scrub: `rate` is in bytes per second, `parallel` the number of concurrent blobs."""

    repair: bool = False
    restart: bool = False
    parallel: int = 2
    rate: float | None = None


class Scrub:
    """One scrub of a whole storage. Cancel `run` to end it; the next scrub continues from there.

    When `has_begun` is true, there is something to report, whatever ends the scrub.
    """

    def __init__(
        self, driver: Driver, options: Options, listener: Listener, progress: Progress
    ) -> None:
        self._driver = driver
        self._options = options
        self._record = Record(driver, listener, repairs=options.repair)
        self._progress = progress
        self._rate = ReadRate(options.rate)
        self._contents = Contents()
        self.has_begun = False

    @property
    def summary(self) -> Summary:
        """The summary of what was done so far."""
        return self._record.summary

    async def run(self) -> Summary:
        """Scrub; raise `AlreadyRunning`, or OSError when the storage can't be written to at all.

        Raises OSError, MemoryError or sqlite3.Error when file descriptors or memory are exhausted.
        The progress is saved then, as after a cancellation.
        """
        async with self._claimed(), self._database() as database:
            await self._begin()
            self.has_begun = True
            lister = Lister(self._driver, database, self._record.add)
            try:
                await self._check_top_folders(lister)
                await self._check_blobs(lister)
                await self._check_repositories(lister, database)
            except (asyncio.CancelledError, OSError, MemoryError, sqlite3.Error):
                await to_completion(self._record.save())
                raise
            self._record.is_complete = True
            with contextlib.suppress(OSError):
                await self._driver.staging.discard(SCRUBBED)
        return self.summary

    @contextlib.asynccontextmanager
    async def _claimed(self) -> AsyncIterator[None]:
        """Exclude other scrubs; without the lock where the storage can't be written to by any."""
        async with contextlib.AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self._driver.claim(paths.SCRUB))
            except OSError as error:
                if self._options.repair:
                    raise
                raise_if_exhausted(error)
                logger.warning(
                    "the storage cannot be written to, scrubbing without lock: %s", error
                )
            yield

    @contextlib.asynccontextmanager
    async def _database(self) -> AsyncIterator[Database]:
        """Open a private database for lists that grow with the registry."""
        database = await self._driver.batch(lambda _: Database(key_queue.SCHEMA + strays.SCHEMA))
        with contextlib.closing(database):
            yield database

    async def _begin(self) -> None:
        """Continue an interrupted scrub, unless a new one is wanted."""
        if self._options.restart:
            return
        for finding in await self._record.resume():
            # With --repair the blob is read again: it may have been pushed again since.
            is_bad = finding.kind is Kind.CORRUPT_BLOB and not finding.repaired
            if is_bad and finding.digest and not self._options.repair:
                self._contents.remember_corrupt(finding.digest)

    async def _check_top_folders(self, lister: Lister) -> None:
        def job(listing: Listing) -> None:
            for folder, *expected in _TOP_FOLDERS:
                listing.check(folder, expected.__contains__)
            listing.check(paths.REPOSITORIES, is_component)

        await lister.run(job)

    async def _check_blobs(self, lister: Lister) -> None:
        checkpoint = self._record.checkpoint
        if checkpoint.stage is not Stage.BLOBS:
            return
        after = Digest.parse(checkpoint.after) if checkpoint.after else None
        check = BlobCheck(
            self._driver,
            lister,
            self._contents,
            self._rate,
            parallel=self._options.parallel,
            repairs=self._options.repair,
        )

        def done(digest: Digest, size: int) -> None:
            checkpoint.blobs += 1
            checkpoint.size += size
            reached = check.done_up_to
            checkpoint.after = str(reached) if reached else ""
            # Digests are evenly distributed, so their first digits show the progress.
            at = int(digest.hex[:4], 16)
            self._progress.step(f"hashing {digest.algorithm} blobs", at, _BEGINNINGS)

        async with self._record.saved_regularly():
            await check.run(after, self._record.add, done)
        checkpoint.stage, checkpoint.after = Stage.REPOSITORIES, ""

    async def _check_repositories(self, lister: Lister, database: Database) -> None:
        checkpoint, repairer = self._record.checkpoint, await self._repairer()
        check = RepositoryCheck(
            self._driver, database, lister, self._contents, repairer, self._record.add
        )
        names = RepositoryNames(database, checkpoint.after)
        while page := await lister.run(lambda listing: names.next(listing.reader)):
            for name in page:
                checkpoint.repositories += await check.run(name)
                checkpoint.after = name.text
                await asyncio.sleep(0)  # so that a scrub can be interrupted with any driver
                self._progress.step("checking repositories", checkpoint.repositories, None)
                await self._record.save_if_due()

    async def _repairer(self) -> Repairer | None:
        if not self._options.repair:
            return None
        may_remove = await self._driver.batch(_is_whole)
        return Repairer(self._driver, self._contents, self._rate, may_remove=may_remove)


def _is_whole(reader: Reader) -> bool:
    """Return whether there are blobs, and no link dangles because a disk is not mounted."""
    tolerant = TolerantReader(reader, [])
    problems = chain(hidden_places(tolerant, has_blobs=True), unmounted_blob_folders(tolerant))
    return _has_blobs(reader) and next(problems, None) is None


def _has_blobs(reader: Reader) -> bool:
    return any(
        entry.is_folder
        for algorithm in HEX_LENGTHS
        for short in reader.folders(f"{paths.BLOBS}/{algorithm}")
        for entry in reader.entries(f"{paths.BLOBS}/{algorithm}/{short}")
    )
