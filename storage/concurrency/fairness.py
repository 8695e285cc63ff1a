"""Locks and semaphores for long work, so that one caller delays the others little."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary


class SubjectLocks:
    """A lock for each subject; tasks acquire it in the order of their requests."""

    def __init__(self) -> None:
        self._of_subject: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()

    def of(self, subject: Hashable) -> asyncio.Lock:
        """Return the lock of `subject`."""
        # Only waiting tasks reference the lock; it is dropped with the last of them.
        return self._of_subject.setdefault(subject, asyncio.Lock())


class FairSemaphore:
    """A semaphore of `at_once` slots, of which one subject uses one at most.

    Tasks of one subject queue behind each other first, so they delay other subjects little.
    """

    def __init__(self, at_once: int) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._locks = SubjectLocks()

    @asynccontextmanager
    async def of(self, subject: Hashable) -> AsyncIterator[None]:
        """Hold a slot for `subject` for the length of the block."""
        async with self._locks.of(subject), self._free:
            yield
