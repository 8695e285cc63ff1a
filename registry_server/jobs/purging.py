"""Periodic purging of abandoned uploads."""

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

# Seconds. Workers and servers on one volume should not all walk it at the same time.
_LONGEST_DELAY = 3600.0


async def run_upload_purging(driver: Driver, settings: UploadPurging) -> None:
    """Purge stale uploads once per interval, first after a random part of it, at most an hour.

    Errors are logged and do not end the task: in another registry one unexpected path stopped the
    purging until the next restart, and uploads filled the disk.
    """
    interval = settings.interval.total_seconds()
    await asyncio.sleep(random.uniform(0, min(interval, _LONGEST_DELAY)))
    while True:
        try:
            await _purge(driver, settings)
        except Exception:
            logger.exception("purging stale uploads failed; next attempt in %s s", interval)
        await asyncio.sleep(interval)


async def _purge(driver: Driver, settings: UploadPurging) -> None:
    age = settings.age.total_seconds()
    async with aclosing(purge_uploads(driver, age, dry_run=settings.dryrun)) as purged:
        async for _ in purged:
            pass  # logged already


async def purge_uploads(
    driver: Driver, age: float, *, dry_run: bool
) -> AsyncGenerator[StaleUpload, None]:
    """Remove uploads that are idle for `age` seconds, unless `dry_run`; yield and log them."""
    async with aclosing(stale_uploads.plans(driver, age)) as plans:
        async for plan in plans:
            removed = plan.uploads if dry_run else await stale_uploads.execute(driver, plan)
            for upload in removed:
                _log(upload, "would be removed" if dry_run else "was removed")
                yield upload


def _log(upload: StaleUpload, verb: str) -> None:
    logger.info("stale upload %s of %s (%d bytes) %s", upload.id, upload.name, upload.size, verb)
