"""Locks and semaphores for long work, so that one caller delays the others little."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary


class KeyedLocks:
    """A lock for each key; tasks acquire it in the order of their requests."""

    def __init__(self) -> None:
        self._by_key: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()

    def of(self, key: Hashable) -> asyncio.Lock:
        """Return the lock of `key`."""
        # Only waiting tasks reference the lock; it is dropped with the last of them.
        return self._by_key.setdefault(key, asyncio.Lock())


class FairSemaphore:
    """A semaphore of `at_once` slots, of which each key uses one at most.

    Tasks with one key queue behind each other first, so they delay other tasks little.
    """

    def __init__(self, at_once: int) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._locks = KeyedLocks()

    @asynccontextmanager
    async def of(self, key: Hashable) -> AsyncIterator[None]:
        """Hold a slot for `key` for the length of the block."""
        async with self._locks.of(key), self._free:
            yield
