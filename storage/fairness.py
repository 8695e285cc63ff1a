"""Locks and places for work that takes long, so that one caller delays the others little."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary


class SubjectLocks:
    """A lock for each subject; tasks get it in the order in which they asked for it."""

    def __init__(self) -> None:
        self._of_subject: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()

    def of(self, subject: Hashable) -> asyncio.Lock:
        """Return the lock of `subject`."""
        # The tasks that wait hold the lock; it is forgotten with the last of them.
        return self._of_subject.setdefault(subject, asyncio.Lock())


class FairSemaphore:
    """A semaphore of `at_once` places, in which one subject has one place at most.

    Tasks of one subject wait for each other first, so they delay those of another by few turns.
    """

    def __init__(self, at_once: int) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._locks = SubjectLocks()

    @asynccontextmanager
    async def of(self, subject: Hashable) -> AsyncIterator[None]:
        """Hold a place for `subject` for the length of the block."""
        async with self._locks.of(subject), self._free:
            yield
