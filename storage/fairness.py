"""Turns for work that takes long, so that what is asked for by one delays others little."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary


class Turns:
    """Gives each subject one turn at a time; others of the same subject wait, in order."""

    def __init__(self) -> None:
        self._of_subject: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()

    def of(self, subject: Hashable) -> asyncio.Lock:
        """Return the lock to hold for a turn of `subject`."""
        # The tasks that wait hold the lock; it is forgotten with the last of them.
        return self._of_subject.setdefault(subject, asyncio.Lock())


class FairSemaphore:
    """A semaphore of `at_once` places, in which one subject has one place at most.

    Tasks of one subject wait for each other first, so they delay those of another by few turns.
    """

    def __init__(self, at_once: int) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._turns = Turns()

    @asynccontextmanager
    async def of(self, subject: Hashable) -> AsyncIterator[None]:
        """Hold a place for `subject` for the length of the block."""
        async with self._turns.of(subject), self._free:
            yield
