"""The plan of a collection: made while serving, printed or carried out."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from storage.drivers.base import Driver, Reader
from storage.drivers.cancellable import CancellableReads
from storage.errors import OperationDisabled
from storage.maintenance.garbage.hidden import note_hidden
from storage.maintenance.garbage.ledger import Ledger
from storage.maintenance.garbage.marking import mark
from storage.maintenance.garbage.survey import SHORTEST_GRACE_NS, survey
from storage.maintenance.progress import Progress, Stop
from storage.maintenance.tolerant import TolerantReader, TolerantReads, Trouble
from storage.repository.registry import walk
from storage.values.names import RepositoryName
from storage.values.paths import CLOCK


@dataclass(frozen=True, slots=True)
class Options:
    """What is to go: what nothing has used for `grace` seconds, untagged manifests too or not."""

    grace: float
    delete_untagged: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What would go, why the rest stays, and what could not be found out.

    `ledger` has all that is many; `unreadable` of its manifests can't be read. While there is
    `trouble` no bytes are removed: the parts of the tree that can't be read may need any of them.
    While a part of the tree `is_hidden` nothing that a client pushed is removed: that part may be
    mounted again later, and may need anything.
    """

    ledger: Ledger
    options: Options
    young_after: int
    repositories: tuple[RepositoryName, ...]
    trouble: tuple[Trouble, ...]
    is_hidden: bool
    unreadable: int


async def make_plan(
    driver: Driver, ledger: Ledger, options: Options, progress: Progress, stop: Stop
) -> Plan:
    """Survey, wait for those who write links, and mark; `ledger` is new and outlives the plan."""
    young_after = await _young_after(driver, options)
    trouble: list[Trouble] = []
    reads = CancellableReads(driver, stop.heed)  # a repository may take a minute
    await survey(TolerantReads(reads, trouble), ledger, young_after, progress, stop)
    await _barrier(driver)
    is_hidden = await reads.batch(partial(note_hidden, ledger, trouble))
    names = await reads.batch(lambda reader: tuple(walk(TolerantReader(reader, trouble))))
    for done, name in enumerate(names):
        stop.heed()
        await reads.batch(partial(mark_tolerantly, ledger, name, options, trouble))
        progress.step("marking repositories", done + 1, len(names))
    if is_hidden:
        await driver.batch(lambda _: ledger.leave_all_alone())
    unreadable = await driver.batch(lambda _: ledger.count_of_unreadable())
    return Plan(ledger, options, young_after, names, tuple(trouble), is_hidden, unreadable)


def mark_tolerantly(
    ledger: Ledger, name: RepositoryName, options: Options, trouble: list[Trouble], reader: Reader
) -> bool:
    """Mark a repository as `mark` does; with new `trouble` nothing of it goes."""
    before = len(trouble)
    tolerant = TolerantReader(reader, trouble)
    is_readable = mark(tolerant, ledger, name, delete_untagged=options.delete_untagged)
    if len(trouble) > before:
        ledger.leave_alone(name)
    return is_readable


async def _young_after(driver: Driver, options: Options) -> int:
    """Return the instant of the storage's own clock, in ns, from which on a change is recent."""
    now = await driver.touch(CLOCK)  # a disk without room has room for that
    if now is None:
        with suppress(OSError):  # the disk is full, and no server has made the file before
            await driver.write_unsynced(CLOCK, b"")
        now = await driver.stat(CLOCK)
    # A read-only driver writes no clock file.
    instant = time.time_ns() if now is None else now.modified_ns
    return instant - max(int(options.grace * 1e9), SHORTEST_GRACE_NS)


async def _barrier(driver: Driver) -> None:
    """Return when every process that relied on content before has written its links.

    A read-only driver has no locks: its plan can be printed but not carried out.
    """
    with suppress(OperationDisabled):
        await driver.exclusively(lambda _: None)
