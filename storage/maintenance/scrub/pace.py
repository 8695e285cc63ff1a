"""How fast a scrub may read: one limit for all that it reads at once."""

from __future__ import annotations

import asyncio
import time


class Pace:
    """At most `rate` bytes per second, counted over all who share this; no limit without one."""

    def __init__(self, rate: float | None = None) -> None:
        self._rate = rate
        self._free_at = 0.0

    async def spend(self, size: int) -> None:
        """Wait until `size` bytes that were read are paid for; for none there is no wait."""
        if self._rate is None or not size:
            return
        now = time.monotonic()
        self._free_at = max(now, self._free_at) + size / self._rate
        await asyncio.sleep(self._free_at - now)
