"""Collections without a grace period."""

from __future__ import annotations

import pytest

from storage.drivers.base import Driver
from storage.maintenance.garbage import plan
from storage.maintenance.garbage.collection import carry_out, planned
from storage.maintenance.garbage.plan import Options
from storage.maintenance.garbage.sweep.content_sweep import Swept
from tests.storage.purging import purged


async def collect(driver: Driver, *, delete_untagged: bool) -> Swept:
    """Collect everything unreferenced, however young; raise OSError if something stayed."""
    options = Options(grace=-3600, delete_untagged=delete_untagged)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(plan, "SHORTEST_GRACE_NS", -1 << 60)
        async with planned(driver, options) as made:
            swept = await carry_out(driver, made)
            if swept.failed or not made.coverage.is_complete:
                raise OSError(f"{swept.failed} {made.coverage}")
            return swept


async def tidy(driver: Driver) -> None:
    """Run all maintenance, as if the registry had not been used for weeks."""
    await purged(driver, -3600)
    for _ in range(2):  # the second collection removes folders that the first one emptied
        await collect(driver, delete_untagged=False)
