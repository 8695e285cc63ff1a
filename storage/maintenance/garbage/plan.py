"""The plan of a collection: made while the registry serves, then printed or carried out."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from storage.drivers.base import Driver, Reader
from storage.drivers.cancellable import CancellableReads
from storage.errors import OperationDisabled
from storage.maintenance.garbage.collection_database import CollectionDatabase
from storage.maintenance.garbage.mark.marking import mark
from storage.maintenance.garbage.survey.blob_survey import SHORTEST_GRACE_NS, survey
from storage.maintenance.garbage.survey.coverage import Coverage
from storage.maintenance.garbage.survey.hidden_repositories import add_hidden_places
from storage.maintenance.progress import Progress, Stop
from storage.maintenance.tolerant_reads import TolerantReader, TolerantReads, Trouble
from storage.repository.registry import walk
from storage.values.names import RepositoryName
from storage.values.paths import CLOCK


@dataclass(frozen=True, slots=True)
class Options:
    """The grace period in seconds, and whether untagged manifests are deleted."""

    grace: float
    delete_untagged: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What is eligible for deletion, why the rest is kept, and what could not be read.

    `database` has the marks. Files changed at `young_after` (ns since 1970) or later are kept.
    """

    database: CollectionDatabase
    options: Options
    young_after: int
    repositories: tuple[RepositoryName, ...]
    coverage: Coverage


async def make_plan(
    driver: Driver, database: CollectionDatabase, options: Options, progress: Progress, stop: Stop
) -> Plan:
    """Survey, pass the barrier, and mark; `database` is empty and outlives the plan."""
    young_after = await _young_after(driver, options)
    trouble: list[Trouble] = []
    reads = CancellableReads(driver, stop.raise_if_requested)  # a repository may take a minute
    await survey(TolerantReads(reads, trouble), database.blobs, young_after, progress, stop)
    await _barrier(driver)
    is_hidden = await reads.batch(partial(add_hidden_places, database.blobs, trouble))
    names = await reads.batch(lambda reader: tuple(walk(TolerantReader(reader, trouble))))
    for done, name in enumerate(names):
        stop.raise_if_requested()
        await reads.batch(partial(mark_tolerantly, database, name, options, trouble))
        progress.step("marking repositories", done + 1, len(names))
    if is_hidden:
        await driver.batch(lambda _: database.candidates.spare_all())
    unreadable = await driver.batch(lambda _: database.marks.count_of_unreadable())
    coverage = Coverage(tuple(trouble), is_hidden, unreadable)
    return Plan(database, options, young_after, names, coverage)


def mark_tolerantly(
    database: CollectionDatabase,
    name: RepositoryName,
    options: Options,
    trouble: list[Trouble],
    reader: Reader,
) -> bool:
    """Mark a repository as `mark` does; if that adds to `trouble`, keep all of it."""
    before = len(trouble)
    tolerant = TolerantReader(reader, trouble)
    is_readable = mark(tolerant, database, name, delete_untagged=options.delete_untagged)
    if len(trouble) > before:
        database.candidates.spare_repository(database.marks.number_of(name))
    return is_readable


async def _young_after(driver: Driver, options: Options) -> int:
    """Return the start of the grace period by the storage's own clock, in ns since 1970."""
    now = await driver.touch(CLOCK)  # works on a full disk
    if now is None:
        with suppress(OSError):  # the disk is full, and no server has created the file yet
            await driver.write_unsynced(CLOCK, b"")
        now = await driver.stat(CLOCK)
    # A read-only driver writes no clock file.
    instant = time.time_ns() if now is None else now.modified_ns
    return instant - max(int(options.grace * 1e9), SHORTEST_GRACE_NS)


async def _barrier(driver: Driver) -> None:
    """Return once every process that relied on content before the call has published its links.

    A read-only driver has no locks: its plan can be printed but not carried out.
    """
    with suppress(OperationDisabled):
        await driver.exclusively(lambda _: None)
