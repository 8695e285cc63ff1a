"""One at a time: in this process in the order they come, and then across processes."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary

from storage.drivers.base import Driver
from storage.errors import AlreadyRunning
from storage.names import RepositoryName

# Seconds. A turn is a look at a repository and a few writes at most.
_PATIENCE = 30.0
_PAUSE = 0.002


class Turns:
    """Turns of those that make a repository grow. No other repository has to wait for them.

    A turn is a claim of the driver's, for a repository's folder may go while it is held, and a lock
    on it be worth nothing. Whoever holds a session may take one, and whoever has one may lock a tag
    or the tree; never the other way round.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        # Whoever waits here is in nobody's way, and need not try again and again.
        self._here: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, name: RepositoryName) -> AsyncIterator[None]:
        """Wait for a turn, and have it; raise TimeoutError when nobody lets go for very long."""
        lock = self._here.setdefault(name.text, asyncio.Lock())
        async with lock, AsyncExitStack() as stack:
            # A name may be longer than that of a file, and has slashes.
            await self._claim(f"quota-{hashlib.sha256(name.text.encode()).hexdigest()[:32]}", stack)
            yield

    async def _claim(self, what: str, stack: AsyncExitStack) -> None:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                await stack.enter_async_context(self._driver.claim(what))
            except AlreadyRunning:
                if time.monotonic() >= deadline:
                    raise TimeoutError(f"{what} is held by another process") from None
            else:
                return
            await asyncio.sleep(_PAUSE)
