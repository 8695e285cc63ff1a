"""Reads whose duration grows with the registry: lists of tags and of repositories, and searches.

Each occupies one of the driver's threads, and the GIL. So only a few run at a time, which leaves
threads for all other requests, and equal reads share one run. Each caller has a queue of its own,
of which only the first read waits in the common queue.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from storage.concurrency.fairness import FairSemaphore, KeyedLocks
from storage.concurrency.sharing import Run, SharedRuns
from storage.drivers.base import Driver, Reader
from storage.drivers.cancellable import CancellableReads

T = TypeVar("T")


class LongReads:
    """Runs at most `at_once` reads at a time; the others wait."""

    def __init__(self, driver: Driver, at_once: int) -> None:
        self._driver = driver
        self._slots = FairSemaphore(at_once)
        self._runs = SharedRuns[Hashable, Any]()
        self._callers = KeyedLocks()
        self._queues = SharedRuns[Hashable, Any]()

    async def result(
        self,
        key: Hashable,
        job: Callable[[Reader], T],
        subject: Hashable = None,
        caller: Hashable = None,
    ) -> T:
        """Return the result of `job`, shared between concurrent calls with an equal `key`.

        Reads of one `subject` run one after the other, and so do the reads of one `caller`; without
        a caller, each call counts as another caller's. A job starts after every call that shares
        it. A job that no call waits for any more is not started, or ends at its next read.
        """
        if not caller:  # such as a client of a unix socket
            return await self._shared(key, job, subject)

        async def turn(run: Run[T]) -> T:
            async with self._callers.of(caller):
                run.check()
                return await run.while_wanted(self._shared(key, job, subject))

        value: T = await self._queues.result((caller, key), turn)
        return value

    async def _shared(self, key: Hashable, job: Callable[[Reader], T], subject: Hashable) -> T:
        async def work(run: Run[T]) -> T:
            async with self._slots.of(subject or key):
                run.check()
                return await CancellableReads(self._driver, run.check).batch(job)

        value: T = await self._runs.result(key, work)
        return value
