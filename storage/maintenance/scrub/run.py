"""A scrub from the beginning to the end, or from where the last one was interrupted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

from storage.concurrency.cancellation import to_completion
from storage.drivers.base import Driver, Reader
from storage.errors import raise_if_exhausted
from storage.maintenance.database import Database
from storage.maintenance.garbage.survey.hidden_repositories import hidden, hidden_blobs
from storage.maintenance.progress import Progress
from storage.maintenance.scrub.checkpoint import Checkpoint, Stage, recall
from storage.maintenance.scrub.findings import Finding, Kind
from storage.maintenance.scrub.reading import strays
from storage.maintenance.scrub.reading.blob_contents import Contents
from storage.maintenance.scrub.reading.folder_listing import Lister, Listing
from storage.maintenance.scrub.reading.pace import Pace
from storage.maintenance.scrub.repairs import Repairer
from storage.maintenance.scrub.stages import key_queue
from storage.maintenance.scrub.stages.blob_stage import BlobCheck
from storage.maintenance.scrub.stages.repository_names import RepositoryNames
from storage.maintenance.scrub.stages.repository_stage import RepositoryCheck
from storage.maintenance.tolerant import TolerantReader
from storage.values import paths
from storage.values.digest import HEX_LENGTHS, Digest
from storage.values.names import is_component
from storage.values.paths import SCRUBBED

logger = logging.getLogger(__name__)

# Seconds after which the progress is saved again.
_SAVE_EVERY = 10.0
_BEGINNINGS = 0x10000

_HELP = {
    Kind.CORRUPT_BLOB: "--repair moves it to quarantine, then it can be pushed again",
    Kind.UNREADABLE: "check the disk",
    Kind.DAMAGED_LINK: "--repair rewrites it if its content is certain, or removes it",
    Kind.DEAD_LINK: "--repair removes it",
    Kind.ORPHANED_LINK: "collections by registry:2 or registry:3 leave such links; "
    "--repair removes it",
    Kind.DEAD_TAG: "--repair removes the tag; pushing it again repairs it",
    Kind.UNTIDY_LINK: "--repair rewrites it",
    Kind.STALE_HISTORY: "--repair removes it",
    Kind.STALE_REFERRER: "--repair removes it",
    Kind.UNLISTED_REFERRER: "--repair adds it, and so does the next list of referrers",
    Kind.FOREIGN: "never changed",
}
_ABOVE = (
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


@dataclass(frozen=True, slots=True)
class Summary:
    """What a scrub did and found, including the part before an interruption.

    `errors` and `notes` are findings that were not repaired. `position` says how far the scrub
    got, if it is incomplete, and `continued_from` where it began, if it continued another one.
    Blobs that were being read at an interruption count twice.
    """

    blobs: int
    size: int
    repositories: int
    repaired: int
    errors: int
    notes: int
    continued_from: str
    position: str


class Listener(Protocol):
    """Receives each finding, from the event loop or a thread, one at a time."""

    def found(self, finding: Finding) -> None:
        """Take a finding, repaired or not."""


class Scrub:
    """One scrub of a whole storage. Cancel `run` to end it; the next scrub continues from there.

    When `has_begun` is true, there is something to report, whatever ends the scrub.
    """

    def __init__(
        self, driver: Driver, options: Options, listener: Listener, progress: Progress
    ) -> None:
        self._driver = driver
        self._options = options
        self._listener = listener
        self._progress = progress
        self._pace = Pace(options.rate)
        self._contents = Contents()
        self._checkpoint = Checkpoint(repairs=options.repair)
        self._saved_at = time.monotonic()
        self._is_complete = False
        self.has_begun = False

    @property
    def summary(self) -> Summary:
        """The summary of what was done so far."""
        checkpoint = self._checkpoint
        left = {kind: n for (kind, repaired), n in checkpoint.counts.items() if not repaired}
        return Summary(
            blobs=checkpoint.blobs,
            size=checkpoint.size,
            repositories=checkpoint.repositories,
            repaired=sum(n for (_, repaired), n in checkpoint.counts.items() if repaired),
            errors=sum(n for kind, n in left.items() if not kind.is_note),
            notes=sum(n for kind, n in left.items() if kind.is_note),
            continued_from=checkpoint.continued_from,
            position="" if self._is_complete else checkpoint.position,
        )

    async def run(self) -> Summary:
        """Scrub; raise `AlreadyRunning`, or OSError when the storage can't be written to at all.

        Raises OSError, MemoryError or sqlite3.Error when file descriptors or memory are exhausted.
        The progress is saved then, as after a cancellation.
        """
        async with self._claimed(), self._database() as database:
            await self._begin()
            self.has_begun = True
            lister = Lister(self._driver, database, self._found)
            try:
                await self._above(lister)
                await self._blobs(lister)
                await self._repositories(lister, database)
            except (asyncio.CancelledError, OSError, MemoryError, sqlite3.Error):
                await to_completion(self._save())
                raise
            self._is_complete = True
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
        earlier = await recall(self._driver, repairs=self._options.repair)
        if earlier is None or self._options.restart:
            return
        self._checkpoint = earlier
        for finding in earlier.findings.values():
            self._listener.found(finding)
            # With --repair the blob is read again: it may have been pushed again since.
            is_bad = finding.kind is Kind.CORRUPT_BLOB and not finding.repaired
            if is_bad and finding.digest and not self._options.repair:
                self._contents.recall(finding.digest)

    async def _above(self, lister: Lister) -> None:
        """Check the few folders above blobs and repositories."""

        def job(listing: Listing) -> None:
            for folder, *ours in _ABOVE:
                listing.check(folder, ours.__contains__)
            listing.check(paths.REPOSITORIES, is_component)

        await lister.run(job)

    async def _blobs(self, lister: Lister) -> None:
        if self._checkpoint.stage is not Stage.BLOBS:
            return
        after = Digest.parse(self._checkpoint.after) if self._checkpoint.after else None
        check = BlobCheck(
            self._driver,
            lister,
            self._contents,
            self._pace,
            parallel=self._options.parallel,
            repairs=self._options.repair,
        )

        def done(digest: Digest, size: int) -> None:
            self._checkpoint.blobs += 1
            self._checkpoint.size += size
            reached = check.done_up_to
            self._checkpoint.after = str(reached) if reached else ""
            # Digests are evenly distributed, so their first digits show the progress.
            at = int(digest.hex[:4], 16)
            self._progress.step(f"hashing {digest.algorithm} blobs", at, _BEGINNINGS)

        saving = asyncio.create_task(self._save_regularly())
        try:
            await check.run(after, self._found, done)
        finally:
            saving.cancel()
            await asyncio.wait([saving])
        self._checkpoint.stage, self._checkpoint.after = Stage.REPOSITORIES, ""

    async def _repositories(self, lister: Lister, database: Database) -> None:
        repairer = await self._repairer()
        check = RepositoryCheck(
            self._driver, database, lister, self._contents, repairer, self._found
        )
        names = RepositoryNames(database, self._checkpoint.after)
        while page := await lister.run(lambda listing: names.next(listing.reader)):
            for name in page:
                self._checkpoint.repositories += await check.run(name)
                self._checkpoint.after = name.text
                await asyncio.sleep(0)  # so that a scrub can be interrupted with any driver
                self._progress.step("checking repositories", self._checkpoint.repositories, None)
                if time.monotonic() - self._saved_at > _SAVE_EVERY:
                    await self._save()

    async def _repairer(self) -> Repairer | None:
        if not self._options.repair:
            return None
        may_remove = await self._driver.batch(_is_whole)
        return Repairer(self._driver, self._contents, self._pace, may_remove=may_remove)

    def _found(self, finding: Finding) -> None:
        """Record and report a finding, with its remedy."""
        if not finding.how and not finding.repaired:
            finding = finding.as_left(_HELP.get(finding.kind, ""))
        if self._checkpoint.add(finding):
            self._listener.found(finding)

    async def _save_regularly(self) -> None:
        while True:
            await asyncio.sleep(_SAVE_EVERY)
            await self._save()

    async def _save(self) -> None:
        self._saved_at = time.monotonic()
        try:
            await self._checkpoint.save(self._driver)
        except OSError as error:
            logger.warning("could not save the progress of the scrub: %s", error)


def _is_whole(reader: Reader) -> bool:
    """Return whether there are blobs, and no link dangles because a disk is not mounted."""
    tolerant = TolerantReader(reader, [])
    lost = chain(hidden(tolerant, has_blobs=True), hidden_blobs(tolerant))
    return _has_blobs(reader) and next(lost, None) is None


def _has_blobs(reader: Reader) -> bool:
    return any(
        entry.is_folder
        for algorithm in HEX_LENGTHS
        for short in reader.folders(f"{paths.BLOBS}/{algorithm}")
        for entry in reader.entries(f"{paths.BLOBS}/{algorithm}/{short}")
    )
