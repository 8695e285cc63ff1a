"""Collections that wait for nobody."""

from __future__ import annotations

import pytest

from storage.drivers.base import Driver
from storage.maintenance.garbage import plan
from storage.maintenance.garbage.collect import carry_out, planned
from storage.maintenance.garbage.plan import Options
from storage.maintenance.garbage.sweep import Swept
from tests.storage.purging import purged


async def collect(driver: Driver, *, delete_untagged: bool) -> Swept:
    """Collect all that nothing needs, however young; raise OSError if anything was in the way."""
    options = Options(grace=-3600, delete_untagged=delete_untagged)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(plan, "SHORTEST_GRACE_NS", -1 << 60)
        async with planned(driver, options) as made:
            swept = await carry_out(driver, made)
            if swept.failed or not made.coverage.is_complete:
                raise OSError(f"{swept.failed} {made.coverage}")
            return swept


async def tidy(driver: Driver) -> None:
    """Do all that is done about a disk when nobody has used a registry for weeks."""
    await purged(driver, -3600)
    for _ in range(2):  # what the first leaves empty the second takes away
        await collect(driver, delete_untagged=False)
