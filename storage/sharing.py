"""Work that callers share: all that ask for the same before it begins get one result.

A caller joins only a run that has not begun. So a run reads everything after its callers asked: a
client that pushed something and then asks for the list finds it there.

An error knows the frames that it passed through, and a task knows its error. So no such frame knows
the task at the end: only a collection of the interpreter would free them, with all that they hold.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, NamedTuple, TypeVar

from storage.concurrency import race

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
        """Raise `Abandoned` if no caller waits; the work calls this often, on any thread."""
        if not self.callers:
            raise Abandoned

    async def while_wanted(self, part: Coroutine[Any, Any, T]) -> T:
        """Return what `part` returns; cancel it, and raise `Abandoned`, when no caller waits."""
        return await race(part, self._left.wait(), Abandoned)

    def join(self) -> None:
        """Have one caller more, which a run that has begun never gets."""
        self.callers += 1
        self._left.clear()

    def leave(self) -> None:
        """Have one caller fewer."""
        self.callers -= 1
        if not self.callers:
            self._left.set()


class _Waiting(NamedTuple, Generic[T]):
    run: Run[T]
    task: asyncio.Task[T]


class SharedRuns(Generic[K, T]):
    """For each key, at most one run is under way, and one more waits for its end."""

    def __init__(self) -> None:
        self._waiting: dict[K, _Waiting[T]] = {}
        self._begun: dict[K, asyncio.Task[T]] = {}

    async def result(self, key: K, work: Callable[[Run[T]], Awaitable[T]]) -> T:
        """Return what `work` returns, or raise what it raises, to all callers of the run."""
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
        before = self._begun.get(key)
        try:
            if before is not None:
                await asyncio.wait([before])
            self._begun[key] = self._waiting[key].task
        finally:
            del before, self._waiting[key]
        try:
            run.check()
            return await work(run)
        finally:
            del self._begun[key]


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Mark the exception of an abandoned run as seen; asyncio would log it otherwise."""
    if not task.cancelled():
        task.exception()
