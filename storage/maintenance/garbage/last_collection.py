"""When the last collection of a storage ended."""

from __future__ import annotations

import math
import time

from storage.drivers.base import Driver
from storage.values import paths


async def seconds_since_last(driver: Driver) -> float:
    """Return the seconds since the last collection ended; infinity when there was none.

    All servers on one storage share the result.
    """
    collected = await driver.stat(paths.COLLECTED)
    ago = math.inf if collected is None else time.time() - collected.modified
    return ago if ago >= 0 else math.inf  # the clock was ahead
