"""Run a whole collection: plan it, carry it out, and allow one at a time."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict

from storage.drivers.base import Driver
from storage.maintenance.garbage.collection_database import CollectionDatabase
from storage.maintenance.garbage.plan import Options, Plan, make_plan
from storage.maintenance.garbage.sweep.content_sweep import Sweep, Swept
from storage.maintenance.garbage.sweep.leftovers import LeftoverRemoval
from storage.maintenance.progress import NoProgress, Progress, Stop
from storage.values import paths

logger = logging.getLogger(__name__)


@asynccontextmanager
async def planned(
    driver: Driver,
    options: Options,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> AsyncIterator[Plan]:
    """Plan a collection; no other one can start until the context ends.

    The plan may be printed, and carried out once. Raises `AlreadyRunning` or `Stopped`.
    """
    async with driver.claim(paths.COLLECTION):
        database = await driver.batch(lambda _: CollectionDatabase())
        try:
            yield await make_plan(
                driver, database, options, progress or NoProgress(), stop or Stop()
            )
        finally:
            database.close()


async def carry_out(
    driver: Driver, plan: Plan, progress: Progress | None = None, stop: Stop | None = None
) -> Swept:
    """Delete what a plan allows until `stop` is requested; return what was deleted."""
    progress, stop = progress or NoProgress(), stop or Stop()
    sweep = Sweep(driver, plan, progress, stop)
    leftovers = LeftoverRemoval(driver, plan, sweep.swept, progress, stop)
    coverage = plan.coverage
    if coverage.allows_links:
        await leftovers.interrupted_deletions()
    await sweep.manifests()
    await sweep.links()
    if coverage.allows_links:
        await leftovers.dangling_links()
    if coverage.allows_blobs:
        await sweep.blobs()
    await leftovers.temporary_files()
    sweep.swept.was_stopped = stop.is_requested
    if not stop.is_requested:
        await _write_summary(driver, sweep.swept)
    return sweep.swept


async def _write_summary(driver: Driver, swept: Swept) -> None:
    """Write what was done; the mtime says when, and can be refreshed on a full disk as well."""
    summary = asdict(swept)
    summary["rubbish"] = summary.pop("leftovers")  # the key of the file since the first version
    try:
        await driver.write_unsynced(paths.COLLECTED, json.dumps(summary).encode())
    except OSError as error:
        logger.warning("could not write the summary of the collection: %s", error)
        await driver.touch(paths.COLLECTED)
