"""Reads whose length grows with the registry: lists of tags and of repositories, and searches.

Each occupies one of the driver's threads, and the interpreter. So only a few run at a time, the
threads that are left serve all other requests, and those that read the same share one. Each caller
waits in a line of its own, of which only the first stands in the line of all.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from storage.drivers.base import Driver, View
from storage.fairness import FairSemaphore, SubjectLocks
from storage.heeding import HeedingReads
from storage.sharing import Run, SharedRuns

T = TypeVar("T")


class LongReads:
    """Runs at most `at_once` reads at a time; the others wait for their turns."""

    def __init__(self, driver: Driver, at_once: int) -> None:
        self._driver = driver
        self._places = FairSemaphore(at_once)
        self._runs = SharedRuns[Hashable, Any]()
        self._callers = SubjectLocks()
        self._lines = SharedRuns[Hashable, Any]()

    async def result(
        self,
        question: Hashable,
        job: Callable[[View], T],
        subject: Hashable = None,
        caller: Hashable = None,
    ) -> T:
        """Return what `job` reads; it is shared with callers that ask an equal `question`.

        Reads of one `subject` wait for each other, and so do the questions of one `caller`; without
        one, each is another caller's. Everything is read after the caller asked. A read that no
        caller waits for any more when its turn comes is not begun, and one that is under way ends.
        """
        if not caller:  # such as a client of a unix socket
            return await self._shared(question, job, subject)

        async def turn(run: Run[T]) -> T:
            async with self._callers.of(caller):
                run.check()
                return await run.while_wanted(self._shared(question, job, subject))

        found: T = await self._lines.result((caller, question), turn)
        return found

    async def _shared(self, question: Hashable, job: Callable[[View], T], subject: Hashable) -> T:
        async def work(run: Run[T]) -> T:
            async with self._places.of(subject or question):
                run.check()
                return await HeedingReads(self._driver, run.check).batch(job)

        found: T = await self._runs.result(question, work)
        return found
