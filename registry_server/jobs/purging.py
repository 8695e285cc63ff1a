"""Periodic work, owned by the application's lifespan: started with it, ended with it."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing

from registry_server.config.schema import UploadPurging
from storage.drivers.base import Driver
from storage.maintenance import stale_uploads
from storage.maintenance.stale_uploads import StaleUpload

logger = logging.getLogger(__name__)

# Several workers, and several servers on one volume, should not all walk it at once.
_LONGEST_DELAY = 3600.0


async def purge_uploads_for_ever(driver: Driver, settings: UploadPurging) -> None:
    """Purge stale uploads once per interval, first after a random part of it, an hour at most.

    Whatever goes wrong is logged and does not end the task: in another registry one odd path
    stopped the purging until the next restart, and uploads filled the disk.
    """
    interval = settings.interval.total_seconds()
    await asyncio.sleep(random.uniform(0, min(interval, _LONGEST_DELAY)))
    while True:
        try:
            await _purge(driver, settings)
        except Exception:
            logger.exception("purging stale uploads failed; it is tried again in %s s", interval)
        await asyncio.sleep(interval)


async def _purge(driver: Driver, settings: UploadPurging) -> None:
    age = settings.age.total_seconds()
    async with aclosing(purge_uploads(driver, age, dry_run=settings.dryrun)) as purged:
        async for _ in purged:
            pass  # it was logged


async def purge_uploads(
    driver: Driver, age: float, *, dry_run: bool
) -> AsyncGenerator[StaleUpload, None]:
    """Remove uploads without a sign of life for `age` seconds, or only say which; yield them."""
    async with aclosing(stale_uploads.plans(driver, age)) as plans:
        async for plan in plans:
            removed = plan.uploads if dry_run else await stale_uploads.execute(driver, plan)
            for upload in removed:
                _log(upload, "would be removed" if dry_run else "was removed")
                yield upload


def _log(upload: StaleUpload, verb: str) -> None:
    logger.info("stale upload %s of %s (%d bytes) %s", upload.id, upload.name, upload.size, verb)
