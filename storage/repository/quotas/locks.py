"""The quota lock of a repository: first in, first out in this process, then across processes."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from weakref import WeakValueDictionary

from storage.drivers.base import Driver
from storage.errors import AlreadyRunning
from storage.values.names import RepositoryName

# Seconds that a request waits in all. The lock is held while the usage is read, and for a few
# writes at most.
_PATIENCE = 30.0
_PAUSE = 0.002


class QuotaLocks:
    """The locks that serialize the growth of each repository.

    A quota lock is a claim of the driver rather than a lock on the repository's folder, which may
    be deleted while it is locked. Lock order: upload session, quota lock, then a tag's folder or
    the tree; never the reverse.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        # Requests of this process wait here, without polling and without blocking other processes.
        self._here: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, name: RepositoryName) -> AsyncIterator[None]:
        """Hold the lock for the length of the block; raise TimeoutError after 30 s of waiting.

        The time includes waiting for earlier requests, which may wait for other processes.
        """
        lock = self._here.setdefault(name.text, asyncio.Lock())
        # A repository name may have slashes, and be longer than a file name may be.
        what = f"quota-{hashlib.sha256(name.text.encode()).hexdigest()[:32]}"
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(_PATIENCE):
                    await stack.enter_async_context(lock)
                    await self._claim(what, stack)
            except TimeoutError:
                raise TimeoutError(f"timed out waiting for the lock {what}") from None
            yield

    async def _claim(self, what: str, stack: AsyncExitStack) -> None:
        while True:
            with suppress(AlreadyRunning):
                await stack.enter_async_context(self._driver.claim(what))
                return
            await asyncio.sleep(_PAUSE)
