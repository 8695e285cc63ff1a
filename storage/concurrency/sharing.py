"""Work that concurrent callers share: calls with an equal key get the result of one run.

A call joins only a run that has not started. So a run reads everything after the calls began: a
client that pushes something and then lists finds it in the list.

A task references its exception, and the exception's traceback references the frames it passed. So
these frames drop their references to the task: the cycle would keep everything in them alive until
the garbage collector runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, NamedTuple, TypeVar

from storage.concurrency.cancellation import race

K = TypeVar("K")
T = TypeVar("T")


class Abandoned(Exception):
    """No caller waits for the result any more."""


class Run(Generic[T]):
    """One execution of the work."""

    def __init__(self) -> None:
        self.callers = 0
        self._left = asyncio.Event()

    def check(self) -> None:
        """Raise `Abandoned` if no caller waits. The work calls this often, on any thread."""
        if not self.callers:
            raise Abandoned

    async def while_wanted(self, part: Coroutine[Any, Any, T]) -> T:
        """Return what `part` returns; cancel it, and raise `Abandoned`, when no caller waits."""
        return await race(part, self._left.wait(), Abandoned)

    def join(self) -> None:
        """Add a caller; only allowed before the run starts."""
        self.callers += 1
        self._left.clear()

    def leave(self) -> None:
        """Remove a caller."""
        self.callers -= 1
        if not self.callers:
            self._left.set()


class _Waiting(NamedTuple, Generic[T]):
    run: Run[T]
    task: asyncio.Task[T]


class SharedRuns(Generic[K, T]):
    """For each key, at most one run is active, and at most one more waits for its end."""

    def __init__(self) -> None:
        self._waiting: dict[K, _Waiting[T]] = {}
        self._active: dict[K, asyncio.Task[T]] = {}

    async def result(self, key: K, work: Callable[[Run[T]], Awaitable[T]]) -> T:
        """Return the result of `work`, or raise its exception, to all callers of the run."""
        run, task = self._waiting.get(key) or self._new(key, work)
        run.join()
        try:
            await asyncio.wait([task])
            return task.result()
        finally:
            run.leave()
            del task

    def _new(self, key: K, work: Callable[[Run[T]], Awaitable[T]]) -> _Waiting[T]:
        run = Run[T]()
        task = asyncio.create_task(self._carry_out(key, run, work))
        task.add_done_callback(_retrieve)
        self._waiting[key] = waiting = _Waiting(run, task)
        return waiting

    async def _carry_out(self, key: K, run: Run[T], work: Callable[[Run[T]], Awaitable[T]]) -> T:
        previous = self._active.get(key)
        try:
            if previous is not None:
                await asyncio.wait([previous])
            self._active[key] = self._waiting[key].task
        finally:
            del previous, self._waiting[key]
        try:
            run.check()
            return await work(run)
        finally:
            del self._active[key]


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Mark the exception of an abandoned run as retrieved, or asyncio would log it."""
    if not task.cancelled():
        task.exception()
