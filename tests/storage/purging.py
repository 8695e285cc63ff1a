"""Purge stale uploads in one plan."""

from __future__ import annotations

from contextlib import aclosing

from storage.drivers.base import Driver
from storage.maintenance.stale_uploads import PurgePlan, StaleUpload, execute, plans


async def plan(driver: Driver, age: float) -> PurgePlan:
    """Plan the removal of all sessions that are idle for `age` seconds."""
    async with aclosing(plans(driver, age)) as some:
        return PurgePlan(tuple([upload async for one in some for upload in one.uploads]))


async def purged(driver: Driver, age: float) -> list[StaleUpload]:
    """Remove all of them and return them."""
    return await execute(driver, await plan(driver, age))
