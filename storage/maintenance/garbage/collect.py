"""A whole collection: the plan, what comes of it, and that there is one at a time."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict

from storage.drivers.base import Driver
from storage.maintenance.garbage.ledger import Ledger
from storage.maintenance.garbage.plan import Options, Plan, make_plan
from storage.maintenance.garbage.rubbish import Rubbish
from storage.maintenance.garbage.sweep import Sweep, Swept
from storage.maintenance.progress import Progress, Silence, Stop
from storage.values import paths

logger = logging.getLogger(__name__)


@asynccontextmanager
async def planned(
    driver: Driver,
    options: Options,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> AsyncIterator[Plan]:
    """Plan a collection that nobody else does meanwhile; raise `AlreadyRunning` or `Stopped`.

    The plan may be printed, and carried out once, until the context ends.
    """
    async with driver.claim(paths.COLLECTION):
        ledger = await driver.batch(lambda _: Ledger())
        try:
            yield await make_plan(driver, ledger, options, progress or Silence(), stop or Stop())
        finally:
            ledger.close()


async def carry_out(
    driver: Driver, plan: Plan, progress: Progress | None = None, stop: Stop | None = None
) -> Swept:
    """Remove what a plan says; return what was, as far as `stop` let it."""
    progress, stop = progress or Silence(), stop or Stop()
    sweep = Sweep(driver, plan, progress, stop)
    rubbish = Rubbish(driver, plan, sweep.swept, progress, stop)
    if not plan.is_hidden:  # else a manifest that seems to be gone may be there again tomorrow
        await rubbish.deletions()
    await sweep.manifests()
    await sweep.links()
    if not plan.is_hidden:
        await rubbish.histories()
    if not plan.trouble:
        await sweep.blobs()
    await rubbish.rest()
    sweep.swept.was_stopped = stop.is_wished
    if not stop.is_wished:
        await _note(driver, sweep.swept)
    return sweep.swept


async def _note(driver: Driver, swept: Swept) -> None:
    """Note what was done; its mtime says when, and can be refreshed on a full disk as well."""
    try:
        await driver.write_unsynced(paths.COLLECTED, json.dumps(asdict(swept)).encode())
    except OSError as error:
        logger.warning("could not write the summary of the collection: %s", error)
        await driver.touch(paths.COLLECTED)
