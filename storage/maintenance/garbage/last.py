"""When the last collection of a storage ended."""

from __future__ import annotations

import math
import time

from storage.drivers.base import Driver
from storage.values import paths


async def seconds_since_last(driver: Driver) -> float:
    """Return how many seconds ago a collection ended here; infinity when none did.

    All servers on one storage share the answer.
    """
    found = await driver.stat(paths.COLLECTED)
    ago = math.inf if found is None else time.time() - found.modified
    return ago if ago >= 0 else math.inf  # the clock was ahead
