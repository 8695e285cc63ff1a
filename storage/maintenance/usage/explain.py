"""One look at a whole storage: every file counted, and why it is there."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

from storage.drivers.base import Driver, Reader
from storage.drivers.cancellable import CancellableReads
from storage.drivers.filesystem.file_census import FileCensus
from storage.maintenance.garbage.hidden import note_hidden
from storage.maintenance.garbage.plan import Options, mark_tolerantly
from storage.maintenance.garbage.survey import SHORTEST_GRACE_NS, survey
from storage.maintenance.progress import Progress, Silence, Stop
from storage.maintenance.tolerant import TolerantReader, TolerantReads, Trouble
from storage.maintenance.usage.amounts import Amount
from storage.maintenance.usage.files import FileUsage, count_files
from storage.maintenance.usage.ledger import UsageLedger
from storage.maintenance.usage.tally import tally
from storage.repository.registry import walk
from storage.values.names import RepositoryName


@dataclass(frozen=True, slots=True)
class BlobUsage:
    """All blobs, by why they stay; the first five are all there are.

    `shared` is the part of those needed, surely or perhaps, that several repositories need, and
    `untagged` the part that only manifests need that `delete_untagged` would have go.
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
    """Upload sessions, and the least recent sign of life of one, in seconds since 1970."""

    sessions: int = 0
    oldest: float | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What is on the disk and why. `ledger` has what there is to say of each repository.

    `trouble` is what could not be read. It may need anything, so no blob goes while there is any.
    `unreadable` is how many manifests are absent or damaged; the ledger names them.
    """

    ledger: UsageLedger
    blobs: BlobUsage
    files: FileUsage
    uploads: UploadUsage
    trouble: tuple[Trouble, ...]
    unreadable: int

    @property
    def total(self) -> Amount:
        """All files below the root."""
        return sum(self.files.amounts.values(), self.blobs.total)

    @property
    def reclaimable(self) -> Amount:
        """What a collection would give back now: blobs, and what is left over."""
        return self.blobs.idle + self.files.leftovers


@asynccontextmanager
async def explained(
    driver: Driver,
    census: FileCensus,
    grace: float,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> AsyncIterator[Usage]:
    """Look at the storage that `driver` reads and `census` counts the files of.

    What was used in the last `grace` seconds stays, by the clock of this machine. Writes nothing.
    The ledger is to be read until the context ends. Raises `Stopped`.
    """
    ledger = await driver.batch(lambda _: UsageLedger())
    try:
        look = _Look(driver, ledger, grace, progress or Silence(), stop or Stop())
        yield await look.all(census)
    finally:
        ledger.close()


class _Look:
    def __init__(
        self, driver: Driver, ledger: UsageLedger, grace: float, progress: Progress, stop: Stop
    ) -> None:
        self._driver = driver
        self._reads = CancellableReads(driver, stop.heed)  # a repository may take a minute
        self._ledger = ledger
        self._grace = grace
        self._progress = progress
        self._stop = stop
        self._trouble: list[Trouble] = []
        self._young_after = time.time_ns() - max(int(grace * 1e9), SHORTEST_GRACE_NS)

    async def all(self, census: FileCensus) -> Usage:
        """Look at everything, once."""
        reads = TolerantReads(self._reads, self._trouble)
        await survey(reads, self._ledger, self._young_after, self._progress, self._stop)
        uploads = await self._mark()
        files = await self._driver.batch(partial(self._count, census))
        blobs = await self._blobs()
        # One path is looked at for several reasons.
        trouble = tuple(dict.fromkeys(self._trouble))
        unreadable = await self._driver.batch(lambda _: self._ledger.count_of_unreadable())
        return Usage(self._ledger, blobs, files, uploads, trouble, unreadable)

    async def _mark(self) -> UploadUsage:
        await self._reads.batch(partial(note_hidden, self._ledger, self._trouble))
        names = await self._reads.batch(lambda reader: list(walk(self._tolerant(reader))))
        sessions, oldest = 0, []
        for done, name in enumerate(names):
            self._stop.heed()
            found = await self._reads.batch(partial(self._mark_one, name))
            sessions += found.sessions
            oldest += [] if found.oldest is None else [found.oldest]
            self._progress.step("looking at repositories", done + 1, len(names))
        return UploadUsage(sessions, min(oldest, default=None))

    def _mark_one(self, name: RepositoryName, reader: Reader) -> UploadUsage:
        options = Options(self._grace)
        is_readable = mark_tolerantly(self._ledger, name, options, self._trouble, reader)
        found = tally(self._tolerant(reader), name)
        if found is None:
            return UploadUsage()
        self._ledger.add_tally(name, found, readable=is_readable)
        return UploadUsage(found.uploads, found.oldest)

    def _count(self, census: FileCensus, _: Reader) -> FileUsage:
        return count_files(census, self._young_after, self._trouble, self._progress, self._stop)

    async def _blobs(self) -> BlobUsage:
        found = await self._driver.batch(lambda _: self._blobs_but_untagged())
        if self._trouble:
            return found
        names = await self._driver.batch(lambda _: self._ledger.unmark_untagged())
        for done, name in enumerate(names):
            self._stop.heed()
            await self._reads.batch(partial(self._mark_tagged, name))
            self._progress.step("looking for untagged manifests", done + 1, len(names))
        idle = await self._driver.batch(lambda _: self._ledger.amount_idle())
        return replace(found, untagged=idle - found.idle)

    def _blobs_but_untagged(self) -> BlobUsage:
        ledger = self._ledger
        ledger.share_out()
        idle = ledger.amount_idle()
        return BlobUsage(
            needed=ledger.amount_needed(),
            perhaps=ledger.amount_perhaps_needed(),
            young=ledger.amount_young(),
            held_back=idle if self._trouble else Amount(),
            idle=Amount() if self._trouble else idle,
            shared=ledger.amount_shared(),
            untagged=Amount(),
        )

    def _mark_tagged(self, name: RepositoryName, reader: Reader) -> None:
        options = Options(self._grace, delete_untagged=True)
        mark_tolerantly(self._ledger, name, options, self._trouble, reader)

    def _tolerant(self, reader: Reader) -> TolerantReader:
        return TolerantReader(reader, self._trouble)
