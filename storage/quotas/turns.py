"""One at a time: in this process in the order they come, and then across processes."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from weakref import WeakValueDictionary

from storage.drivers.base import Driver
from storage.errors import AlreadyRunning
from storage.names import RepositoryName

# Seconds that one request waits in all. A turn is a look at a repository and a few writes at most.
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
        """Wait for a turn, and have it; raise TimeoutError when the wait is very long.

        The wait for the requests before it counts too: each of them may wait for another process.
        """
        lock = self._here.setdefault(name.text, asyncio.Lock())
        # A name may be longer than that of a file, and has slashes.
        what = f"quota-{hashlib.sha256(name.text.encode()).hexdigest()[:32]}"
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(_PATIENCE):
                    await stack.enter_async_context(lock)
                    await self._claim(what, stack)
            except TimeoutError:
                raise TimeoutError(f"{what} is held by others") from None
            yield

    async def _claim(self, what: str, stack: AsyncExitStack) -> None:
        while True:
            with suppress(AlreadyRunning):
                await stack.enter_async_context(self._driver.claim(what))
                return
            await asyncio.sleep(_PAUSE)
