"""Reads whose length grows with the registry: lists of tags and of repositories, and searches.

Each occupies one of the driver's threads, and the interpreter. So only a few run at a time, the
threads that are left serve all other requests, and those that read the same share one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from storage.drivers.base import Driver, View
from storage.sharing import Run, SharedRuns

T = TypeVar("T")


class LongReads:
    """Runs at most `at_once` reads at a time; the others wait for their turns."""

    def __init__(self, driver: Driver, at_once: int) -> None:
        self._driver = driver
        self._turns = asyncio.Semaphore(at_once)
        self._runs = SharedRuns[Hashable, Any]()
        self._of_subject: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()

    async def result(
        self, question: Hashable, job: Callable[[View], T], subject: Hashable = None
    ) -> T:
        """Return what `job` reads; it is shared with callers that ask an equal `question`.

        Of the reads of one `subject` one has a turn or is next; so many of them delay a read of
        another by few turns. Everything is read after the caller asked. A read that no caller waits
        for any more when its turn comes is not begun.
        """

        async def work(run: Run[T]) -> T:
            async with self._lock(subject or question), self._turns:
                run.check()
                return await self._driver.batch(job)

        found: T = await self._runs.result(question, work)
        return found

    def _lock(self, subject: Hashable) -> asyncio.Lock:
        # It is held by those that wait, and goes with the last of them.
        return self._of_subject.setdefault(subject, asyncio.Lock())
