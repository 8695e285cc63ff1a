"""Limits the rate at which a scrub reads."""

from __future__ import annotations

import asyncio
import time


class ReadRate:
    """A limit of `rate` bytes per second for all tasks that share this; None means no limit."""

    def __init__(self, rate: float | None = None) -> None:
        self._rate = rate
        self._free_at = 0.0

    async def spend(self, size: int) -> None:
        """Wait for as long as `size` bytes, which were read, take at the rate."""
        if self._rate is None or not size:
            return
        now = time.monotonic()
        self._free_at = max(now, self._free_at) + size / self._rate
        await asyncio.sleep(self._free_at - now)
